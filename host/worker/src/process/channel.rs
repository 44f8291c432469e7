//! The worker's end of the socket. What comes from the other end is untrusted: it is read as it arrives, within bounds.

use super::ProcessError;
use crate::protocol::{HEADER, LONGEST_MESSAGE, MOST_FILES, Order, Report, frame};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// How long an order may take to be read. An order is short, and a runner does nothing else but read.
const DEAF: Duration = Duration::from_secs(10);
/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;

/// The socket to a runner.
pub(super) struct Channel {
    socket: UnixStream,
    /// Whether the last order went out whole; held while one goes out.
    whole: Mutex<bool>,
    /// What has been read, of the next report and maybe others after it.
    arrived: Vec<u8>,
    /// How much of it has been taken already.
    taken: usize,
}

impl Channel {
    pub fn new(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Channel {
            socket: UnixStream::from_std(socket)?,
            whole: Mutex::new(true),
            arrived: Vec::new(),
            taken: 0,
        })
    }

    /// Says something, with files. Orders of several callers go out one after the other.
    pub async fn send(&self, order: &Order, files: &[BorrowedFd<'_>]) -> Result<(), ProcessError> {
        if files.len() > MOST_FILES {
            return Err(ProcessError::Protocol(format!("{} files with one order", files.len())));
        }
        let frame = frame(order).ok_or_else(|| ProcessError::Protocol("an order that is too long".into()))?;
        let mut whole = self.whole.lock().await;
        if !*whole {
            return Err(ProcessError::Protocol("an earlier order went out in part only".into()));
        }
        // If this future is dropped, it stays so.
        *whole = false;
        match tokio::time::timeout(DEAF, self.write(&frame, files)).await {
            Ok(Ok(())) => {
                *whole = true;
                Ok(())
            }
            Ok(Err(error)) => Err(ProcessError::Protocol(format!("its socket: {error}"))),
            Err(_) => Err(ProcessError::Deaf),
        }
    }

    async fn write(&self, mut frame: &[u8], mut files: &[BorrowedFd<'_>]) -> io::Result<()> {
        while !frame.is_empty() {
            let sent = self
                .socket
                .async_io(Interest::WRITABLE, || {
                    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
                    let mut control = SendAncillaryBuffer::new(&mut space);
                    if !files.is_empty() {
                        control.push(SendAncillaryMessage::ScmRights(files));
                    }
                    let sent = sendmsg(&self.socket, &[IoSlice::new(frame)], &mut control, SendFlags::NOSIGNAL)?;
                    Ok(sent)
                })
                .await?;
            // They went out with the first byte.
            files = &[];
            frame = &frame[sent..];
        }
        Ok(())
    }

    /// The next report; none at the end. If the future is dropped, nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Report>, ProcessError> {
        loop {
            if let Some(report) = self.whole_report()? {
                return Ok(Some(report));
            }
            let ready = self.socket.readable().await;
            self.arrived.drain(..self.taken);
            self.taken = 0;
            self.arrived.reserve(CHUNK);
            match ready.and_then(|()| self.socket.try_read_buf(&mut self.arrived)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // As when it dies with an order unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(ProcessError::Protocol(format!("its socket: {error}"))),
            }
        }
    }

    fn whole_report(&mut self) -> Result<Option<Report>, ProcessError> {
        let Some((header, rest)) = self.arrived[self.taken..].split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length > LONGEST_MESSAGE {
            return Err(ProcessError::Protocol(format!("a message of {length} bytes")));
        }
        let Some(text) = rest.get(..length) else {
            return Ok(None);
        };
        let report = serde_json::from_slice(text).map_err(|error| ProcessError::Protocol(error.to_string()))?;
        self.taken += HEADER + length;
        // A long message is rare; its room is not kept.
        if self.taken == self.arrived.len() && self.arrived.capacity() > 16 * CHUNK {
            self.arrived = Vec::new();
            self.taken = 0;
        }
        Ok(Some(report))
    }
}
