//! Batches of a split, one after the other, each prepared while the one before it is being used.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::{Buffer, DType, DataError, Dataset, SplitName, dataset::Inner, matrix::no_batch, shuffle::permutation};

/// Batches that wait to be used, besides the one that is being prepared.
const AHEAD: usize = 1;

/// Below this many bytes, copying a batch costs less than having another thread do it.
const WORTH_A_THREAD: usize = 64 * 1024;

/// How a split is cut into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Samples in a batch, at least 1; the last batch may have fewer.
    pub batch_size: usize,
    /// A seed and the number of an epoch, from which the order of samples follows. Absent: in order of time.
    pub shuffle: Option<(u64, u64)>,
    /// Leaves out a last batch that is not full.
    pub drop_last: bool,
    /// The type of the numbers.
    pub dtype: DType,
}

/// Some samples, side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What is known, scaled.
    pub x: Buffer,
    /// `[size, lookback, features]` of windows, `[size, features]` of rows.
    pub x_shape: Vec<usize>,
    /// What is to be predicted, scaled; class indices of a classification. `None` when predicting.
    pub y: Option<Buffer>,
    /// `[size, horizon, targets]` of windows, `[size, targets]` of rows, `[size]` of classes; empty without `y`.
    pub y_shape: Vec<usize>,
    /// How many samples.
    pub size: usize,
}

/// One pass over a split. Dropping it stops the thread that prepares batches.
#[derive(Debug)]
pub struct Batches {
    left: usize,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Batches too small to be worth a thread, or no thread to be had.
    Here(Plan),
    Thread {
        batches: Option<Receiver<Batch>>,
        thread: Option<JoinHandle<()>>,
    },
}

/// Which samples make up which batch.
#[derive(Debug, Clone)]
struct Plan {
    data: Arc<Inner>,
    split: SplitName,
    /// Absent: in order of time.
    order: Option<Arc<[usize]>>,
    /// Samples that have their turn before the pass is over, and those that had it.
    end: usize,
    next: usize,
    batch_size: usize,
    dtype: DType,
}

impl Iterator for Plan {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let turn = self.next..self.end.min(self.next + self.batch_size);
        if turn.is_empty() {
            return None;
        }
        self.next = turn.end;
        Some(match &self.order {
            Some(order) => self.data.gather(self.split, &order[turn], self.dtype),
            None => self.data.gather(self.split, &turn.collect::<Vec<_>>(), self.dtype),
        })
    }
}

impl Dataset {
    /// Cuts a split into batches. Refuses a batch size of 0.
    pub fn batches(&self, split: SplitName, options: BatchOptions) -> Result<Batches, DataError> {
        if options.batch_size == 0 {
            return Err(no_batch("batch size"));
        }
        let count = self.len(split);
        let batch_size = options.batch_size.min(count.max(1));
        let order = options
            .shuffle
            .map(|(seed, epoch)| permutation(count, seed, epoch).into());
        let end = match options.drop_last {
            true => count - count % options.batch_size,
            false => count,
        };
        let left = end.div_ceil(batch_size);
        let plan = Plan {
            data: Arc::clone(&self.inner),
            split,
            order,
            end,
            next: 0,
            batch_size,
            dtype: options.dtype,
        };
        let small = self.batch_bytes(batch_size, options.dtype) < WORTH_A_THREAD;
        Ok(Batches {
            left,
            source: if small || left < 2 {
                Source::Here(plan)
            } else {
                plan.on_a_thread()
            },
        })
    }
}

impl Plan {
    fn on_a_thread(self) -> Source {
        let plan = self.clone();
        let (sender, batches) = sync_channel(AHEAD);
        let thread = thread::Builder::new().name("batches".to_owned()).spawn(move || {
            for batch in plan {
                // Nobody listens any more: the pass was given up.
                if sender.send(batch).is_err() {
                    return;
                }
            }
        });
        match thread {
            Ok(thread) => Source::Thread {
                batches: Some(batches),
                thread: Some(thread),
            },
            Err(_) => Source::Here(self),
        }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let batch = match &mut self.source {
            Source::Here(plan) => plan.next(),
            Source::Thread { batches, thread } => match batches.as_ref().and_then(|batches| batches.recv().ok()) {
                Some(batch) => Some(batch),
                None => {
                    // The thread has ended: at the end of the pass, or by a panic, which must not look like the end.
                    if let Some(Err(panic)) = thread.take().map(JoinHandle::join) {
                        std::panic::resume_unwind(panic);
                    }
                    None
                }
            },
        };
        self.left = self.left.saturating_sub(1);
        batch
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Source::Thread { batches, thread } = &mut self.source {
            // Closing the channel is what makes the thread stop; it then has at most one batch left to finish.
            drop(batches.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}
