//! The pictures of a group: each is made ready and seen once, for all its pairs.

use std::sync::Arc;
use std::time::Instant;

use super::clip::PlacedVideo;
use super::group::{Group, MAX_GROUP_FEATURES, RankTiming};
use super::place::Place;
use super::rank::{Ordered, ms};
use super::types::Picture;
use super::vision::View;
use super::{Inner, clip, question};
use crate::Error;
use crate::preprocess::Patches;
use crate::schedule::{Call, Pending};

/// Pictures that were seen: those of one candidate, or those beside all of them.
pub(super) struct Look {
    pub(super) places: Vec<Place>,
    pub(super) views: Vec<View>,
    /// Tokens that went through the tower, for the first prompt that shows them.
    pub(super) fresh: usize,
    /// The videos among them.
    pub(super) videos: Vec<PlacedVideo>,
}

/// All pictures of a group.
pub(super) struct Looks {
    /// What is shown beside the candidates.
    pub(super) shown: Look,
    /// The candidates.
    pub(super) items: Vec<Look>,
}

impl Looks {
    /// What the prompt of a pair shows, in its order.
    pub(super) fn of(&self, (i, j, _): Ordered) -> [&Look; 3] {
        [&self.shown, &self.items[i], &self.items[j]]
    }

    /// Tokens of the pictures of a pair.
    pub(super) fn tokens(&self, pair: Ordered) -> usize {
        self.of(pair).iter().map(|look| tokens(&look.places)).sum()
    }
}

fn tokens(places: &[Place]) -> usize {
    places.iter().map(Place::tokens).sum()
}

/// What is looked at: what is shown beside the candidates, or a candidate.
#[derive(Clone, Copy)]
enum Who {
    Shown,
    Item(usize),
}

impl Who {
    fn pictures(self, group: &Group) -> &[Picture] {
        match self {
            Who::Shown => &group.shown,
            Who::Item(i) => &group.candidates[i],
        }
    }

    fn name(self) -> String {
        match self {
            Who::Shown => "shown".to_owned(),
            Who::Item(i) => format!("candidate {i}"),
        }
    }
}

/// Pictures before the tower sees them.
struct Ready {
    patches: Vec<Patches>,
    places: Vec<Place>,
    videos: Vec<PlacedVideo>,
    timing: RankTiming,
}

/// Sees what is shown beside the candidates, then each candidate. One is made ready while another is seen, so that only
/// features are held for all.
pub(super) async fn all(
    inner: &Arc<Inner>,
    call: &mut Call,
    group: &Arc<Group>,
    timing: &mut RankTiming,
) -> Result<Looks, Error> {
    let vision = inner.package.manifest().vision.as_ref();
    let token = vision.map_or(0, |v| v.hidden as usize * (1 + v.deepstack as usize) * size_of::<f32>());
    let mut bytes = 0;
    let mut looks = Vec::with_capacity(group.candidates.len() + 1);
    let everyone = (0..group.candidates.len()).map(Who::Item);
    let mut everyone = std::iter::once(Who::Shown).chain(everyone);
    let mut next = everyone.next().map(|who| (who, post(inner, call, group, who)));
    while let Some((who, pending)) = next {
        let Ready { patches, places, videos, timing: spent } = call.ready(pending).await?;
        next = everyone.next().map(|who| (who, post(inner, call, group, who)));
        bytes += token * tokens(&places);
        if bytes > MAX_GROUP_FEATURES {
            return Err(Error::Request(format!(
                "the pictures up to {} take {bytes} bytes of features, over the limit of {MAX_GROUP_FEATURES}; give \
                 fewer or smaller ones",
                who.name()
            )));
        }
        let seen = inner.see(call, patches).await?;
        timing.preprocess += spent.preprocess;
        timing.video += spent.video;
        timing.resize += spent.resize;
        timing.vision += seen.ms;
        let fresh = tokens(&places) - seen.reused_tokens();
        looks.push(Look { places, views: seen.views, fresh, videos });
    }
    // What is beside the candidates is looked at first, also where it is nothing.
    let shown = looks.remove(0);
    Ok(Looks { shown, items: looks })
}

/// Leaves pictures to be decoded and prepared.
fn post(inner: &Arc<Inner>, call: &Call, group: &Arc<Group>, who: Who) -> Pending<Ready> {
    let work = (inner.clone(), group.clone());
    call.post(&inner.preparers, move |()| ready(&work.0, &work.1, who))
}

fn ready(inner: &Inner, group: &Group, who: Who) -> Result<Ready, Error> {
    let start = Instant::now();
    let pixels = group.options.ask.pixels;
    let place = who.name();
    let expanded = clip::expand_one(inner, &place, who.pictures(group), pixels)?;
    let video = ms(start);
    let pictures = &expanded.pictures;
    // Every prompt shows what is beside the candidates and two of them.
    let of = group.shown.len() + 2 * pictures.len();
    let resizing = Instant::now();
    let (patches, places) = question::part(inner, pictures, of, pixels, &place)?;
    let timing = RankTiming { preprocess: ms(start), video, resize: ms(resizing), ..RankTiming::default() };
    Ok(Ready { patches, places, videos: expanded.videos, timing })
}
