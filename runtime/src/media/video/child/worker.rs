//! The child's side: take a file and limits, give everything else up, decode, answer.

use std::env;
use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::protocol::{self, Answer, Request};
use super::{ARGUMENT, sandbox};
use crate::media::video::error::VideoError;
use crate::media::video::libav::{Opened, Source};

/// Serves one request and ends the process, when this process was started to do so.
pub(in crate::media::video) fn serve_if_asked() {
    if env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) {
        // A parent that has gone away needs no answer.
        process::exit(i32::from(serve().is_err()));
    }
}

/// The socket is the standard output.
fn serve() -> io::Result<()> {
    let mut socket = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let Some((request, file)) = receive(&socket)? else { return Ok(()) };
    // The last thing that is asked of the kernel about the file, whose bytes are read in the sandbox only.
    let source = Source::file(file, &request.limits);
    sandbox::limit(&request.limits)?;
    sandbox::lock()?;
    match answer(&request, source, &mut socket) {
        Ok(()) => protocol::write_answer(&mut socket, &Answer::Done),
        Err(End::Video(error)) => protocol::write_answer(&mut socket, &Answer::Failed(error)),
        Err(End::Socket(error)) => Err(error),
    }?;
    socket.flush()
}

/// Why an answer ends early.
enum End {
    Video(VideoError),
    Socket(io::Error),
}

impl From<VideoError> for End {
    fn from(error: VideoError) -> End {
        End::Video(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Socket(error)
    }
}

/// Tells what there is, is told what is wanted, and tells that.
fn answer(request: &Request, source: Result<Source, VideoError>, socket: &mut File) -> Result<(), End> {
    let opened = Opened::new(source?, &request.limits, request.threads as usize)?;
    protocol::write_answer(socket, &Answer::Info(opened.info))?;
    let chosen = protocol::read_choice(socket, opened.info.frames_total)?;
    let times = chosen.iter().map(|frame| opened.seconds(*frame)).collect();
    protocol::write_answer(socket, &Answer::Times(times))?;
    let mut broken = Ok(());
    opened.decode(&chosen, request.rule, &mut |frame, rgb| {
        broken = protocol::write_answer(socket, &Answer::Frame { frame, rgb });
        if broken.is_ok() { Ok(()) } else { Err(VideoError::Crashed) }
    })?;
    Ok(broken?)
}

/// The request and its file; none when the parent went away, as it does with spare children.
fn receive(socket: &File) -> io::Result<Option<(Request, File)>> {
    let mut bytes = [0; Request::BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    match (got.bytes, files.into_iter().next()) {
        (0, _) => Ok(None),
        (Request::BYTES, Some(file)) => Ok(Some((Request::from_bytes(&bytes)?, File::from(file)))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
