//! The runner's end of the socket, its standard input.

use crate::protocol::{HEADER, LONGEST_MESSAGE, MOST_FILES, Order, Report, frame};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// The socket to the worker. Orders are read by one thread; whoever has something to say may say it.
pub(super) struct Connection {
    socket: UnixStream,
    saying: Mutex<()>,
}

impl Connection {
    pub fn of_standard_input() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Connection {
            socket: socket.into(),
            saying: Mutex::new(()),
        })
    }

    /// The next order, with its files; none when the worker is gone.
    pub fn next(&self) -> io::Result<Option<(Order, Vec<File>)>> {
        let mut header = [0; HEADER];
        let mut files = Vec::new();
        let mut read = 0;
        while read < HEADER {
            match self.receive(&mut header[read..], &mut files)? {
                0 => return Ok(None),
                more => read += more,
            }
        }
        let length = u32::from_le_bytes(header) as usize;
        if length > LONGEST_MESSAGE {
            return Err(io::Error::other(format!("an order of {length} bytes")));
        }
        let mut text = vec![0; length];
        match (&self.socket).read_exact(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok(Some((serde_json::from_slice(&text)?, files)))
    }

    fn receive(&self, bytes: &mut [u8], files: &mut Vec<File>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                files.extend(descriptors.map(File::from));
            }
        }
        Ok(received.bytes)
    }

    /// Says something. `false`: it is longer than a message may be, and was not said.
    pub fn say(&self, report: &Report) -> io::Result<bool> {
        let Some(frame) = frame(report) else {
            return Ok(false);
        };
        let _turn = self.saying.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.socket).write_all(&frame)?;
        Ok(true)
    }
}
