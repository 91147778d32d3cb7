//! The chosen frames are decoded, and no others are kept.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use ffmpeg_next::codec::Id;
use ffmpeg_next::{Discard, Packet, Rescale, decoder, frame, rescale};

use super::Sink;
use super::convert::Converter;
use super::index::{self, Index, Key, Packets};
use super::open::{self, Media};
use super::plan::{self, Run};
use crate::media::video::error::VideoError;
use crate::media::{PixelRule, Rgb8};

/// How the file is opened once more.
pub(super) type Open<'a> = &'a (dyn Fn() -> Result<Media, VideoError> + Sync);
/// What takes frames by their timestamps.
type Take<'a> = &'a mut dyn FnMut(i64, Rgb8) -> Result<(), VideoError>;

/// What frames are decoded from, and how.
pub(super) struct Task<'a> {
    pub(super) open: Open<'a>,
    pub(super) index: &'a Index,
    /// How many threads may be used.
    pub(super) threads: usize,
    pub(super) rule: PixelRule,
}

impl Task<'_> {
    /// Decodes frames of the index, which ascend and are different.
    pub(super) fn run(&self, chosen: &[u64], sink: Sink<'_>) -> Result<(), VideoError> {
        let time = |at: &u64| self.index.times.get(*at as usize).copied().ok_or(VideoError::Corrupt);
        let times: Vec<i64> = chosen.iter().map(time).collect::<Result<_, _>>()?;
        let planned = self.index.packets.as_ref().and_then(|p| Some((p, plan::runs(p, &times)?)));
        let Some((packets, runs)) = planned else { return self.sequential(chosen, sink) };
        self.parallel(packets, &runs, &mut |time, rgb| {
            let at = times.binary_search(&time).map_err(|_| VideoError::Corrupt)?;
            sink(chosen[at], rgb)
        })
    }

    /// Decodes from the start and takes frames by their place: for videos whose packets say nothing.
    fn sequential(&self, chosen: &[u64], sink: Sink<'_>) -> Result<(), VideoError> {
        let mut media = (self.open)()?;
        let mut converter = Converter::new(media.size, self.rule, media.turn);
        let mut wanted = chosen.iter().copied().peekable();
        index::each_frame(&mut media, self.threads, |at, frame| {
            if wanted.next_if_eq(&at).is_some() {
                sink(at, converter.rgb(frame)?)?;
            }
            Ok(wanted.peek().is_some())
        })?;
        if wanted.peek().is_some() { Err(VideoError::Corrupt) } else { Ok(()) }
    }

    /// Decodes runs side by side over the cores, each worker with a demuxer and a decoder of its own. One run alone is
    /// decoded by a decoder that uses all of them.
    fn parallel(&self, packets: &Packets, runs: &[Run], take: Take<'_>) -> Result<(), VideoError> {
        let workers = self.threads.min(runs.len()).max(1);
        let next = AtomicUsize::new(0);
        // Frames that wait to be taken are bounded by the number of workers, and so is their memory.
        let (out, taken) = sync_channel(workers);
        thread::scope(|scope| {
            let start = |_| {
                let (out, next) = (out.clone(), &next);
                scope.spawn(move || {
                    let mut send = |time, rgb| out.send(Ok((time, rgb))).map_err(|_| VideoError::Corrupt);
                    let done = Worker::new(self, packets, self.threads / workers).and_then(|mut worker| {
                        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                            worker.run(run, &mut send)?;
                        }
                        Ok(())
                    });
                    if let Err(error) = done {
                        // Nobody listens any more when another worker failed first.
                        let _ = out.send(Err(error));
                    }
                })
            };
            let started: Vec<_> = (0..workers).map(start).collect();
            drop(out);
            let taken = taken;
            let end = taken.iter().try_for_each(|frame| frame.and_then(|(time, rgb)| take(time, rgb)));
            next.store(runs.len(), Ordering::Relaxed);
            drop(taken);
            // The scope waits for what its threads do, not for what they leave: joined, they are gone with all they had.
            for worker in started {
                worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
            end
        })
    }
}

/// A demuxer and a decoder for one run after the other.
struct Worker<'a> {
    open: Open<'a>,
    packets: &'a Packets,
    media: Media,
    decoder: decoder::Video,
    converter: Converter,
}

/// What became of an attempt.
enum Outcome {
    Done,
    /// The decoder did not show every frame that the packets promise.
    Missing,
}

impl<'a> Worker<'a> {
    fn new(task: &Task<'a>, packets: &'a Packets, threads: usize) -> Result<Self, VideoError> {
        let open = task.open;
        let media = open()?;
        let decoder = open::decoder(&media, threads.max(1))?;
        let converter = Converter::new(media.size, task.rule, media.turn);
        Ok(Worker { open, packets, media, decoder, converter })
    }

    /// Decodes a run. What decoders need beyond the key frame is found out by trying: first without the frames that
    /// none builds on, then with them, then from the start of the file.
    fn run(&mut self, run: &Run, take: Take<'_>) -> Result<(), VideoError> {
        let mut left = run.clone();
        if skips_exactly(self.media.codec)
            && let Outcome::Done = self.attempt(&mut left, Discard::NonReference, take)?
        {
            return Ok(());
        }
        if let Outcome::Done = self.attempt(&mut left, Discard::Default, take)? {
            return Ok(());
        }
        left.key = *self.packets.keys.first().ok_or(VideoError::Corrupt)?;
        match self.attempt(&mut left, Discard::Default, take)? {
            Outcome::Done => Ok(()),
            Outcome::Missing => Err(VideoError::Corrupt),
        }
    }

    /// Decodes from the key to the last target. Targets that were found are taken out of the run.
    fn attempt(&mut self, run: &mut Run, skip: Discard, take: Take<'_>) -> Result<Outcome, VideoError> {
        let last = run.last();
        let mut packet = self.packet_of(&run.key)?;
        loop {
            let order = packet.pts().and_then(|time| self.packets.order.get(&time)).copied();
            let target = run.targets.iter().any(|(time, _)| Some(*time) == packet.pts());
            self.decoder.skip_frame(if target { Discard::Default } else { skip });
            self.decoder.send_packet(&packet).map_err(open::refused)?;
            self.receive(run, take)?;
            if order == Some(last) || run.targets.is_empty() {
                break;
            }
            match index::next(&mut self.media)? {
                Some(next) => packet = next,
                None => break,
            }
        }
        // The last target is out once the decoder knows that nothing follows.
        self.decoder.send_eof().map_err(open::refused)?;
        self.receive(run, take)?;
        self.decoder.flush();
        Ok(if run.targets.is_empty() { Outcome::Done } else { Outcome::Missing })
    }

    /// Takes the targets among the frames that are ready.
    fn receive(&mut self, run: &mut Run, take: Take<'_>) -> Result<(), VideoError> {
        let mut frame = frame::Video::empty();
        while self.decoder.receive_frame(&mut frame).is_ok() {
            let Some(time) = frame.pts() else { continue };
            // Frames that are shown before the key may lack what they are predicted from; nobody wants them.
            if time >= run.key.time {
                open::check_whole(self.media.codec, &frame)?;
            }
            if let Some(at) = run.targets.iter().position(|(target, _)| *target == time) {
                take(time, self.converter.rgb(&frame)?)?;
                run.targets.remove(at);
            }
        }
        Ok(())
    }

    /// The packet of a key: by a jump, or when the jump leads behind it, from the start of the file.
    fn packet_of(&mut self, key: &Key) -> Result<Packet, VideoError> {
        // A microsecond more, so that rounding does not lead to the key before.
        let to = key.seek.rescale(self.media.time_base, rescale::TIME_BASE).saturating_add(1);
        if self.media.input.seek(to, ..to).is_ok()
            && let Some(packet) = self.forward(key)?
        {
            return Ok(packet);
        }
        self.media = (self.open)()?;
        self.forward(key)?.ok_or(VideoError::Corrupt)
    }

    /// Reads on to the packet of a key; none when it lies behind.
    fn forward(&mut self, key: &Key) -> Result<Option<Packet>, VideoError> {
        while let Some(packet) = index::next(&mut self.media)? {
            match packet.pts().and_then(|time| self.packets.order.get(&time)) {
                Some(order) if *order == key.order => return Ok(Some(packet)),
                Some(order) if *order > key.order => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Whether the decoder may leave out frames that none builds on without any change to the others. In H.264 they are
/// marked (`nal_ref_idc` 0); HEVC marks only those that none of the same temporal layer builds on.
fn skips_exactly(codec: Id) -> bool {
    codec == Id::H264
}
