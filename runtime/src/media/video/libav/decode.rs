//! The chosen frames are decoded, and no others are kept.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use ffmpeg_next::codec::Id;
use ffmpeg_next::{Discard, Packet, Rescale, decoder, frame, rescale};

use super::convert::Converter;
use super::index::{self, Index, Key, Packets};
use super::open::{self, Media};
use super::plan::{self, Run};
use crate::media::video::error::VideoError;
use crate::media::{PixelRule, Rgb8};

/// How the file is opened once more.
pub(super) type Open<'a> = &'a (dyn Fn() -> Result<Media, VideoError> + Sync);
/// What takes the frames: the timestamp of each, and its pixels. Frames come in any order.
pub(super) type Sink<'a> = &'a mut dyn FnMut(i64, Rgb8) -> Result<(), VideoError>;

/// Decodes the frames that are shown at these times, which ascend and are different.
pub(super) fn frames(
    open: Open<'_>,
    index: &Index,
    chosen: &[i64],
    rule: PixelRule,
    sink: Sink<'_>,
) -> Result<(), VideoError> {
    let planned = index.packets.as_ref().and_then(|packets| Some((packets, plan::runs(packets, chosen)?)));
    match planned {
        Some((packets, runs)) => parallel(open, packets, &runs, rule, sink),
        None => sequential(open, index, chosen, rule, sink),
    }
}

/// Decodes from the start and takes frames by their place: for videos whose packets say nothing.
fn sequential(
    open: Open<'_>,
    index: &Index,
    chosen: &[i64],
    rule: PixelRule,
    sink: Sink<'_>,
) -> Result<(), VideoError> {
    let mut media = open()?;
    let mut converter = Converter::new(media.size, rule, media.turn);
    let mut wanted = chosen.iter().copied().peekable();
    index::each_frame(&mut media, |at, frame| {
        let time = index.times.get(at as usize).copied();
        if let Some(time) = wanted.next_if(|wanted| Some(*wanted) == time) {
            sink(time, converter.rgb(frame)?)?;
        }
        Ok(wanted.peek().is_some())
    })?;
    if wanted.peek().is_some() { Err(VideoError::Corrupt) } else { Ok(()) }
}

/// Decodes runs side by side over the cores, each worker with a demuxer and a decoder of its own. One run alone is
/// decoded by a decoder that uses all cores.
fn parallel(
    open: Open<'_>,
    packets: &Packets,
    runs: &[Run],
    rule: PixelRule,
    sink: Sink<'_>,
) -> Result<(), VideoError> {
    let cores = open::threads();
    let workers = cores.min(runs.len()).max(1);
    let next = AtomicUsize::new(0);
    // Frames that wait for the sink are bounded by the number of workers, and so is their memory.
    let (out, taken) = sync_channel(workers);
    thread::scope(|scope| {
        for _ in 0..workers {
            let (out, next) = (out.clone(), &next);
            scope.spawn(move || {
                let mut send = |time, rgb| out.send(Ok((time, rgb))).map_err(|_| VideoError::Corrupt);
                let done = Worker::new(open, packets, rule, cores / workers).and_then(|mut worker| {
                    while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        worker.run(run, &mut send)?;
                    }
                    Ok(())
                });
                if let Err(error) = done {
                    // Nobody listens any more when another worker failed first.
                    let _ = out.send(Err(error));
                }
            });
        }
        drop(out);
        let taken = taken;
        let end = taken.iter().try_for_each(|frame| frame.and_then(|(time, rgb)| sink(time, rgb)));
        next.store(runs.len(), Ordering::Relaxed);
        end
    })
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
    fn new(
        open: Open<'a>,
        packets: &'a Packets,
        rule: PixelRule,
        threads: usize,
    ) -> Result<Self, VideoError> {
        let media = open()?;
        let decoder = open::decoder(&media, threads.max(1))?;
        let converter = Converter::new(media.size, rule, media.turn);
        Ok(Worker { open, packets, media, decoder, converter })
    }

    /// Decodes a run. What decoders need beyond the key frame is found out by trying: first without the frames that
    /// none builds on, then with them, then from the start of the file.
    fn run(&mut self, run: &Run, take: Sink<'_>) -> Result<(), VideoError> {
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
    fn attempt(&mut self, run: &mut Run, skip: Discard, take: Sink<'_>) -> Result<Outcome, VideoError> {
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
    fn receive(&mut self, run: &mut Run, take: Sink<'_>) -> Result<(), VideoError> {
        let mut frame = frame::Video::empty();
        while self.decoder.receive_frame(&mut frame).is_ok() {
            let Some(time) = frame.pts() else { continue };
            // Frames that are shown before the key may lack what they are predicted from; nobody wants them.
            if time >= run.key.time && (frame.is_corrupt() || frame.has_decode_errors()) {
                return Err(VideoError::Corrupt);
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
