//! The parent's side: start a child, hand it the file, believe nothing that it says, and end it.

use std::env;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::ARGUMENT;
use super::protocol::{self, Answer, MAX_CHOSEN, Request};
use crate::media::video::error::VideoError;
use crate::media::video::libav::Source;
use crate::media::video::limits::VideoLimits;
use crate::media::video::{Choose, Chosen, VideoInfo, VideoInput};
use crate::media::{PixelRule, Rgb8};

/// The program that children run.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
/// Children that wait for their requests.
static SPARE: Mutex<Vec<Process>> = Mutex::new(Vec::new());
/// How many children were taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// From how many videos on a spare child is kept: programs that ask for one pair and end need none.
const MANY: usize = 3;
/// Variables that the dynamic linker needs to find libav where the system does not.
const KEPT: [&str; 1] = ["LD_LIBRARY_PATH"];
/// How long a child whose answers have ended is waited for, in steps.
const END_STEPS: u32 = 100;
const END_STEP: Duration = Duration::from_millis(2);

/// Names the program that children run. The first name stays.
pub(in crate::media::video) fn use_worker(program: &Path) {
    PROGRAM.get_or_init(|| program.to_owned());
}

/// Starts spare children until there are so many, or none can be had.
pub(in crate::media::video) fn warm(count: usize) {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    while spare.len() < count {
        match Process::start() {
            Ok(process) => spare.push(process),
            Err(_) => return,
        }
    }
}

/// Decodes in a child. `take` is told the frames in any order.
pub(in crate::media::video) fn read(
    input: VideoInput<'_>,
    choose: Choose<'_>,
    rule: PixelRule,
    limits: &VideoLimits,
    take: &mut dyn FnMut(u64, Rgb8),
) -> Result<Chosen, VideoError> {
    let deadline = Instant::now() + Duration::from_secs(limits.max_seconds);
    let file = Source::as_file(input, limits)?;
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let process = Process::take()?;
    let mut talk = Talk { process, deadline, limits };
    let request = Request { rule, limits: *limits, threads };
    let result = talk.ask(&request, file.into()).and_then(|()| talk.listen(choose, take));
    result.map_err(|end| talk.explain(end))
}

/// A child and the socket to it. It is ended when this is dropped, and leaves no zombie.
struct Process {
    child: Child,
    socket: UnixStream,
}

impl Process {
    fn start() -> Result<Process, VideoError> {
        let program = PROGRAM.get().ok_or(VideoError::NoWorker)?;
        let cannot = |e: io::Error| VideoError::CannotStart(e.kind());
        let (socket, other) = UnixStream::pair().map_err(cannot)?;
        let kept = KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        let child = Command::new(program)
            .arg(ARGUMENT)
            .env_clear()
            .envs(kept)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::from(OwnedFd::from(other)))
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        Ok(Process { child, socket })
    }

    /// A spare one that still lives, else a new one.
    fn take() -> Result<Process, VideoError> {
        let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let living = std::iter::from_fn(spare)
            .find_map(|mut process| matches!(process.child.try_wait(), Ok(None)).then_some(process));
        let process = match living {
            Some(process) => process,
            None => Process::start()?,
        };
        if TAKEN.fetch_add(1, Ordering::Relaxed) >= MANY {
            warm(1);
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where the child has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a talk ends without its frames.
enum End {
    /// The child says so.
    Failed(VideoError),
    /// The socket says so: closed, or silent for too long.
    Socket(io::Error),
    /// The child does not keep to the protocol.
    Nonsense,
}

/// A request and its answers.
struct Talk<'a> {
    process: Process,
    deadline: Instant,
    limits: &'a VideoLimits,
}

impl Talk<'_> {
    fn ask(&mut self, request: &Request, file: OwnedFd) -> Result<(), End> {
        let bytes = request.to_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&files));
        let sent = sendmsg(&self.process.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL);
        match sent.map_err(|e| End::Socket(e.into()))? {
            Request::BYTES => Ok(()),
            _ => Err(End::Socket(ErrorKind::WriteZero.into())),
        }
    }

    /// The answers in their order.
    fn listen(&mut self, choose: Choose<'_>, take: &mut dyn FnMut(u64, Rgb8)) -> Result<Chosen, End> {
        let Answer::Info(info) = self.hear()? else { return Err(End::Nonsense) };
        let limits = self.limits;
        let checked =
            limits.check_size(info.width, info.height).and_then(|()| limits.check_frames(info.frames_total));
        checked.map_err(End::Failed)?;
        let indices = super::super::choose_frames(&info, choose, limits).map_err(End::Failed)?;
        let mut distinct = indices.clone();
        distinct.dedup();
        if distinct.len() > MAX_CHOSEN {
            return Err(End::Failed(VideoError::Choice(format!(
                "more than {MAX_CHOSEN} frames were chosen"
            ))));
        }
        protocol::write_choice(&mut self.process.socket, &distinct).map_err(End::Socket)?;
        let times = match self.hear()? {
            Answer::Times(times) if times.len() == distinct.len() => times,
            _ => return Err(End::Nonsense),
        };
        self.frames(&info, distinct.clone(), take)?;
        let time = |index: &u64| distinct.binary_search(index).ok().map_or(0.0, |at| times[at]);
        Ok(Chosen { info, timestamps_s: indices.iter().map(time).collect(), indices })
    }

    /// Every frame that is wanted, once, at its size.
    fn frames(
        &mut self,
        info: &VideoInfo,
        mut wanted: Vec<u64>,
        take: &mut dyn FnMut(u64, Rgb8),
    ) -> Result<(), End> {
        loop {
            match self.hear()? {
                Answer::Frame { frame, rgb } if (rgb.width(), rgb.height()) == (info.width, info.height) => {
                    let at = wanted.binary_search(&frame).map_err(|_| End::Nonsense)?;
                    wanted.remove(at);
                    take(frame, rgb);
                }
                Answer::Done if wanted.is_empty() => return Ok(()),
                _ => return Err(End::Nonsense),
            }
        }
    }

    /// The next answer; a failure is an end.
    fn hear(&mut self) -> Result<Answer, End> {
        let most = self.limits.max_pixels.saturating_mul(3);
        let mut reader = Until { socket: &self.process.socket, deadline: self.deadline };
        match protocol::read_answer(&mut reader, most) {
            Ok(Answer::Failed(error)) => Err(End::Failed(error)),
            Ok(answer) => Ok(answer),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(End::Nonsense),
            Err(error) => Err(End::Socket(error)),
        }
    }

    /// What an end means to the caller. How the child ended tells a crash from spent processor time.
    fn explain(&mut self, end: End) -> VideoError {
        let (cpu_seconds, seconds) = (self.limits.max_cpu_seconds, self.limits.max_seconds);
        let late = VideoError::TimedOut { cpu_seconds, seconds };
        match end {
            End::Failed(error) => error,
            End::Nonsense => VideoError::Crashed,
            End::Socket(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => late,
            End::Socket(_) => match self.signal() {
                Some(libc::SIGXCPU | libc::SIGKILL) => late,
                _ => VideoError::Crashed,
            },
        }
    }

    /// The signal that ended the child, which closed its socket a moment ago.
    fn signal(&mut self) -> Option<i32> {
        for _ in 0..END_STEPS {
            match self.process.child.try_wait() {
                Ok(Some(status)) => return status.signal(),
                Ok(None) => thread::sleep(END_STEP),
                Err(_) => return None,
            }
        }
        None
    }
}

/// Reads a socket until a moment.
struct Until<'a> {
    socket: &'a UnixStream,
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        (&mut &*self.socket).read(into)
    }
}
