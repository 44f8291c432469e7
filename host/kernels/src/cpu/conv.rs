//! Convolutions by unrolled windows and matrix products, a bounded block of output positions at a time.
//!
//! A [`Conv`] describes one in two dimensions; one in one dimension has height 1. A transposed convolution is the
//! derivative of an ordinary one ([`Conv::transposed_1d`]): its forward pass is [`backward_input`], its derivatives are
//! [`forward`] and [`backward_weight`] with x and dy exchanged.
//!
//! Working space: a block of some 512 KiB a thread; [`backward_weight`] also holds up to [`PARTS`] copies of the
//! weight.

use rayon::prelude::*;

use super::Real;
use super::gemm::{View, ViewMut, gemm};
use super::par::{self, parallel, sum2, wide};

/// Elements of an unrolled block, unless a single output position takes more.
const BLOCK: usize = 1 << 17;
/// Parts of a batch whose weight gradients are added up apart, then in order.
pub const PARTS: usize = 4;

/// Shapes of a convolution: x [batch, inputs, size], weight [outputs, inputs / groups, kernel], y [batch, outputs,
/// output].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Samples.
    pub batch: usize,
    /// Channels of x.
    pub inputs: usize,
    /// Channels of y.
    pub outputs: usize,
    /// Both channels are split into so many groups that do not mix.
    pub groups: usize,
    /// Height and width of x.
    pub size: (usize, usize),
    /// Height and width of the kernel.
    pub kernel: (usize, usize),
    /// Distance between windows.
    pub stride: (usize, usize),
    /// Zeros on either side.
    pub padding: (usize, usize),
    /// Distance between the elements of a window.
    pub dilation: (usize, usize),
    /// Height and width of y.
    pub output: (usize, usize),
}

/// The same in every dimension of a convolution, as PyTorch's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvOptions {
    /// Distance between windows, at least 1.
    pub stride: usize,
    /// Zeros on either side.
    pub padding: usize,
    /// Distance between the elements of a window, at least 1.
    pub dilation: usize,
    /// At least 1; divides both numbers of channels.
    pub groups: usize,
}

/// Windows that fit into n elements: (n + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down; `None` if
/// none does.
pub fn output_size(n: usize, kernel: usize, options: ConvOptions) -> Option<usize> {
    let reach = options.dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    let room = n.checked_add(options.padding.checked_mul(2)?)?.checked_sub(reach)?;
    Some(room.checked_div(options.stride)? + 1)
}

impl Conv {
    /// Over x [batch, inputs, length] with a weight [outputs, inputs / groups, kernel]; `None` if no window fits.
    pub fn new_1d(
        batch: usize,
        (inputs, outputs): (usize, usize),
        length: usize,
        kernel: usize,
        options: ConvOptions,
    ) -> Option<Self> {
        Some(Self {
            batch,
            inputs,
            outputs,
            groups: options.groups,
            size: (1, length),
            kernel: (1, kernel),
            stride: (1, options.stride),
            padding: (0, options.padding),
            dilation: (1, options.dilation),
            output: (1, output_size(length, kernel, options)?),
        })
    }

    /// Over x [batch, inputs, height, width] with a weight [outputs, inputs / groups, kernel]; `None` if no window
    /// fits.
    pub fn new_2d(
        batch: usize,
        (inputs, outputs): (usize, usize),
        size: (usize, usize),
        kernel: (usize, usize),
        options: ConvOptions,
    ) -> Option<Self> {
        Some(Self {
            batch,
            inputs,
            outputs,
            groups: options.groups,
            size,
            kernel,
            stride: (options.stride, options.stride),
            padding: (options.padding, options.padding),
            dilation: (options.dilation, options.dilation),
            output: (
                output_size(size.0, kernel.0, options)?,
                output_size(size.1, kernel.1, options)?,
            ),
        })
    }

    /// The convolution whose derivative is the transposed one over x [batch, inputs, length] with a weight [inputs,
    /// outputs / groups, kernel]. In the result the roles are exchanged: its `inputs` and `size` are those of the
    /// transposed one's output. `None` if that would be empty.
    ///
    /// The length becomes (length - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    pub fn transposed_1d(
        batch: usize,
        (inputs, outputs): (usize, usize),
        length: usize,
        kernel: usize,
        options: ConvOptions,
        output_padding: usize,
    ) -> Option<Self> {
        let full = length.checked_sub(1)?.checked_mul(options.stride)?;
        let full = full.checked_add(options.dilation.checked_mul(kernel.checked_sub(1)?)?)?;
        let full = full.checked_add(output_padding)?.checked_add(1)?;
        let size = full
            .checked_sub(options.padding.checked_mul(2)?)
            .filter(|&size| size > 0)?;
        Some(Self {
            batch,
            inputs: outputs,
            outputs: inputs,
            groups: options.groups,
            size: (1, size),
            kernel: (1, kernel),
            stride: (1, options.stride),
            padding: (0, options.padding),
            dilation: (1, options.dilation),
            output: (1, length),
        })
    }

    /// Elements of x, weight and y.
    pub fn lengths(&self) -> (usize, usize, usize) {
        (
            self.batch * self.inputs * self.plane(),
            self.outputs * self.inputs / self.groups * self.kernel.0 * self.kernel.1,
            self.batch * self.outputs * self.positions(),
        )
    }

    fn plane(&self) -> usize {
        self.size.0 * self.size.1
    }

    fn positions(&self) -> usize {
        self.output.0 * self.output.1
    }

    /// Elements of an unrolled window of one group.
    fn window(&self) -> usize {
        self.inputs / self.groups * self.kernel.0 * self.kernel.1
    }

    /// Whether an unrolled block is x itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == (1, 1) && self.stride == (1, 1) && self.padding == (0, 0)
    }

    /// Blocks of output positions.
    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (positions, size) = (self.positions(), (BLOCK / self.window().max(1)).max(1));
        (0..positions)
            .step_by(size)
            .map(move |start| start..positions.min(start + size))
    }

    /// Calls `f(offset in the unrolled block, offset in x, number of elements, distance in x)` for every run of
    /// elements that a block [window, positions] shares with x [inputs / groups, size]; what is left over is padding.
    #[inline(always)]
    fn runs(&self, block: std::ops::Range<usize>, mut f: impl FnMut(usize, usize, usize, usize)) {
        let (columns, width) = (block.len(), self.output.1);
        let mut unrolled = 0;
        for channel in 0..self.inputs / self.groups {
            for tap in 0..self.kernel.0 * self.kernel.1 {
                let (ky, kx) = (
                    tap / self.kernel.1 * self.dilation.0,
                    tap % self.kernel.1 * self.dilation.1,
                );
                // Output columns whose element of the window lies inside: 0 <= column * stride + kx - padding < size.
                let first = self.padding.1.saturating_sub(kx).div_ceil(self.stride.1);
                let end = (self.size.1 + self.padding.1)
                    .saturating_sub(kx)
                    .div_ceil(self.stride.1);
                let mut position = block.start;
                while position < block.end {
                    let (row, column) = (position / width, position % width);
                    let length = (width - column).min(block.end - position);
                    let y = row * self.stride.0 + ky;
                    let (from, to) = (first.max(column), end.min(column + length));
                    if y >= self.padding.0 && y - self.padding.0 < self.size.0 && from < to {
                        let x = from * self.stride.1 + kx - self.padding.1;
                        let source = (channel * self.size.0 + y - self.padding.0) * self.size.1 + x;
                        f(
                            unrolled + position - block.start + from - column,
                            source,
                            to - from,
                            self.stride.1,
                        );
                    }
                    position += length;
                }
                unrolled += columns;
            }
        }
    }

    fn unroll<T: Real>(&self, block: std::ops::Range<usize>, x: &[T], unrolled: &mut [T]) {
        unrolled.fill(T::ZERO);
        self.runs(block, |to, from, length, step| {
            let to = &mut unrolled[to..to + length];
            if step == 1 {
                to.copy_from_slice(&x[from..from + length]);
            } else {
                to.iter_mut()
                    .zip(x[from..].iter().step_by(step))
                    .for_each(|(to, &x)| *to = x);
            }
        });
    }

    fn roll_up<T: Real>(&self, block: std::ops::Range<usize>, unrolled: &[T], dx: &mut [T]) {
        self.runs(block, |from, to, length, step| {
            let from = &unrolled[from..from + length];
            if step == 1 {
                dx[to..to + length].iter_mut().zip(from).for_each(|(dx, &d)| *dx += d);
            } else {
                dx[to..]
                    .iter_mut()
                    .step_by(step)
                    .zip(from)
                    .for_each(|(dx, &d)| *dx += d);
            }
        });
    }

    /// Whether each output channel looks at one input channel and a few look at the same: products of matrices so thin
    /// are slower than going over the taps.
    fn is_depthwise(&self) -> bool {
        self.inputs == self.groups && self.outputs <= 4 * self.groups
    }

    /// Working space for one sample.
    fn buffer<T: Real>(&self) -> Vec<T> {
        let columns = self.blocks().next().map_or(0, |block| block.len());
        vec![
            T::ZERO;
            if self.is_pointwise() || self.is_depthwise() {
                0
            } else {
                self.window() * columns
            }
        ]
    }

    /// For each output channel `f(its place in the group, tap, run of y, run of x, distance in x)`.
    #[inline(always)]
    fn taps(&self, mut f: impl FnMut(usize, usize, std::ops::Range<usize>, usize, usize)) {
        let positions = self.positions();
        for o in 0..self.outputs / self.groups {
            self.runs(
                0..positions,
                #[inline(always)]
                |unrolled, from, length, step| {
                    let (tap, to) = (unrolled / positions, unrolled % positions);
                    f(o, tap, to..to + length, from, step);
                },
            );
        }
    }

    /// Whether samples are worth several threads.
    fn spread(&self) -> bool {
        let products = (self.batch * self.outputs * self.positions()).saturating_mul(self.window());
        // Several products take as long as one element of other loops.
        self.batch > 1 && parallel(products / 8)
    }

    fn check<T>(&self, x: &[T], weight: &[T], y: &[T]) {
        assert!(self.groups > 0 && self.inputs.is_multiple_of(self.groups) && self.outputs.is_multiple_of(self.groups));
        assert_eq!((x.len(), weight.len(), y.len()), self.lengths());
    }
}

/// y = x convolved (as cross-correlation) with the weight, plus bias `[outputs]`.
pub fn forward<T: Real>(conv: &Conv, x: &[T], weight: &[T], bias: Option<&[T]>, y: &mut [T]) {
    conv.check(x, weight, y);
    let (plane, positions, window) = (conv.plane(), conv.positions(), conv.window());
    if y.is_empty() {
        return;
    }
    let group = conv.outputs / conv.groups;
    let run = |sample: usize, y: &mut [T]| {
        let beta = match bias {
            None => T::ZERO,
            Some(bias) => {
                y.chunks_mut(positions).zip(bias).for_each(|(y, &b)| y.fill(b));
                T::ONE
            }
        };
        let mut buffer = conv.buffer();
        for g in 0..conv.groups {
            let x = &x[(sample * conv.inputs + g * conv.inputs / conv.groups) * plane..];
            let weight = View::new(&weight[g * group * window..], window);
            let y = &mut y[g * group * positions..];
            if conv.is_depthwise() {
                depthwise(conv, x, weight.data, y, bias.is_none());
                continue;
            }
            if conv.is_pointwise() {
                let y = ViewMut::new(y, positions);
                gemm((group, positions, window), T::ONE, weight, View::new(x, plane), beta, y);
                continue;
            }
            for block in conv.blocks() {
                let (start, columns) = (block.start, block.len());
                let unrolled = &mut buffer[..window * columns];
                conv.unroll(block, x, unrolled);
                let y = ViewMut {
                    row: positions,
                    ..ViewMut::new(&mut y[start..], positions)
                };
                gemm(
                    (group, columns, window),
                    T::ONE,
                    weight,
                    View::new(unrolled, columns),
                    beta,
                    y,
                );
            }
        }
    };
    let sample = conv.outputs * positions;
    if conv.spread() {
        y.par_chunks_mut(sample).enumerate().for_each(|(i, y)| run(i, y));
    } else {
        y.chunks_mut(sample).enumerate().for_each(|(i, y)| run(i, y));
    }
}

/// The gradient of x from that of y; dx is overwritten.
pub fn backward_input<T: Real>(conv: &Conv, weight: &[T], dy: &[T], dx: &mut [T]) {
    conv.check(dx, weight, dy);
    let (plane, positions, window) = (conv.plane(), conv.positions(), conv.window());
    if dx.is_empty() {
        return;
    }
    let (inputs, outputs) = (conv.inputs / conv.groups, conv.outputs / conv.groups);
    let run = |sample: usize, dx: &mut [T]| {
        dx.fill(T::ZERO);
        let mut buffer = conv.buffer();
        for g in 0..conv.groups {
            let weight = View::new(&weight[g * outputs * window..], window).transposed();
            let dy = &dy[(sample * conv.outputs + g * outputs) * positions..];
            let dx = &mut dx[g * inputs * plane..];
            if conv.is_depthwise() {
                depthwise_backward_input(conv, weight.data, dy, dx);
                continue;
            }
            if conv.is_pointwise() {
                let size = (window, positions, outputs);
                gemm(
                    size,
                    T::ONE,
                    weight,
                    View::new(dy, positions),
                    T::ZERO,
                    ViewMut::new(dx, plane),
                );
                continue;
            }
            for block in conv.blocks() {
                let columns = block.len();
                let unrolled = &mut buffer[..window * columns];
                let dy = View::new(&dy[block.start..], positions);
                let size = (window, columns, outputs);
                gemm(size, T::ONE, weight, dy, T::ZERO, ViewMut::new(unrolled, columns));
                conv.roll_up(block, unrolled, dx);
            }
        }
    };
    let sample = conv.inputs * plane;
    if conv.spread() {
        dx.par_chunks_mut(sample).enumerate().for_each(|(i, dx)| run(i, dx));
    } else {
        dx.chunks_mut(sample).enumerate().for_each(|(i, dx)| run(i, dx));
    }
}

/// The gradient of the weight from that of y; it is overwritten.
pub fn backward_weight<T: Real>(conv: &Conv, x: &[T], dy: &[T], d_weight: &mut [T]) {
    conv.check(x, d_weight, dy);
    let (plane, positions, window) = (conv.plane(), conv.positions(), conv.window());
    let (inputs, outputs) = (conv.inputs / conv.groups, conv.outputs / conv.groups);
    // Adds the gradients of some samples.
    let run = |samples: std::ops::Range<usize>, d_weight: &mut [T]| {
        let mut buffer = conv.buffer();
        for sample in samples {
            for g in 0..conv.groups {
                let x = &x[(sample * conv.inputs + g * inputs) * plane..];
                let dy = &dy[(sample * conv.outputs + g * outputs) * positions..];
                let d_weight = &mut d_weight[g * outputs * window..];
                if conv.is_depthwise() {
                    depthwise_backward_weight(conv, x, dy, d_weight);
                    continue;
                }
                if conv.is_pointwise() {
                    let (dy, x) = (View::new(dy, positions), View::new(x, plane).transposed());
                    let size = (outputs, window, positions);
                    gemm(size, T::ONE, dy, x, T::ONE, ViewMut::new(d_weight, window));
                    continue;
                }
                for block in conv.blocks() {
                    let columns = block.len();
                    let unrolled = &mut buffer[..window * columns];
                    let dy = View::new(&dy[block.start..], positions);
                    conv.unroll(block, x, unrolled);
                    let unrolled = View::new(unrolled, columns).transposed();
                    let size = (outputs, window, columns);
                    gemm(size, T::ONE, dy, unrolled, T::ONE, ViewMut::new(d_weight, window));
                }
            }
        }
    };
    d_weight.fill(T::ZERO);
    let size = conv.batch.div_ceil(PARTS).max(1);
    let part = |i: usize| {
        let mut part = vec![T::ZERO; d_weight.len()];
        run(i * size..conv.batch.min((i + 1) * size), &mut part);
        part
    };
    let parts = conv.batch.div_ceil(size);
    if parts <= 1 {
        run(0..conv.batch, d_weight);
        return;
    }
    let parts: Vec<Vec<T>> = if conv.spread() {
        (0..parts).into_par_iter().map(part).collect()
    } else {
        (0..parts).map(part).collect()
    };
    for part in parts {
        d_weight.iter_mut().zip(part).for_each(|(d, part)| *d += part);
    }
}

/// y += x weight for one group of one input channel.
fn depthwise<T: Real>(conv: &Conv, x: &[T], weight: &[T], y: &mut [T], clear: bool) {
    let (positions, window) = (conv.positions(), conv.window());
    if clear {
        y[..conv.outputs / conv.groups * positions].fill(T::ZERO);
    }
    wide(
        #[inline(always)]
        || {
            conv.taps(
                #[inline(always)]
                |o, tap, to, from, step| {
                    let w = weight[o * window + tap];
                    let y = &mut y[o * positions..][to];
                    if step == 1 {
                        for (y, &x) in y.iter_mut().zip(&x[from..]) {
                            *y += w * x;
                        }
                    } else {
                        for (y, &x) in y.iter_mut().zip(x[from..].iter().step_by(step)) {
                            *y += w * x;
                        }
                    }
                },
            );
        },
    );
}

/// dx += dy weight for one group of one input channel.
fn depthwise_backward_input<T: Real>(conv: &Conv, weight: &[T], dy: &[T], dx: &mut [T]) {
    let (positions, window) = (conv.positions(), conv.window());
    wide(
        #[inline(always)]
        || {
            conv.taps(
                #[inline(always)]
                |o, tap, from, to, step| {
                    let w = weight[o * window + tap];
                    let dy = &dy[o * positions..][from];
                    if step == 1 {
                        for (dx, &dy) in dx[to..].iter_mut().zip(dy) {
                            *dx += w * dy;
                        }
                    } else {
                        for (dx, &dy) in dx[to..].iter_mut().step_by(step).zip(dy) {
                            *dx += w * dy;
                        }
                    }
                },
            );
        },
    );
}

/// d_weight += dy x for one group of one input channel.
fn depthwise_backward_weight<T: Real>(conv: &Conv, x: &[T], dy: &[T], d_weight: &mut [T]) {
    let (positions, window) = (conv.positions(), conv.window());
    wide(
        #[inline(always)]
        || {
            conv.taps(
                #[inline(always)]
                |o, tap, at, from, step| {
                    let dy = &dy[o * positions..][at];
                    let sum = if step == 1 {
                        sum2(
                            &x[from..from + dy.len()],
                            dy,
                            #[inline(always)]
                            |x, dy| (x * dy).to_f64(),
                        )
                    } else {
                        let mut sum = 0.0;
                        for (&x, &dy) in x[from..].iter().step_by(step).zip(dy) {
                            sum += (x * dy).to_f64();
                        }
                        sum
                    };
                    d_weight[o * window + tap] += T::from_f64(sum);
                },
            );
        },
    );
}

/// The gradient of the bias `[channels]` from that of y [batch, channels, positions]; it is overwritten.
pub fn backward_bias<T: Real>(batch: usize, positions: usize, dy: &[T], d_bias: &mut [T]) {
    let channels = d_bias.len();
    assert_eq!(dy.len(), batch * channels * positions);
    for (c, d_bias) in d_bias.iter_mut().enumerate() {
        let rows = (0..batch).map(|i| &dy[(i * channels + c) * positions..][..positions]);
        let sum: f64 = rows
            .map(|row| {
                wide(
                    #[inline(always)]
                    || {
                        par::sum(
                            row,
                            #[inline(always)]
                            |d| d.to_f64(),
                        )
                    },
                )
            })
            .sum();
        *d_bias = T::from_f64(sum);
    }
}

/// Adds bias `[channels]` to y [batch, channels, positions], for a transposed convolution.
pub fn add_bias<T: Real>(positions: usize, bias: &[T], y: &mut [T]) {
    par::slices(positions, y, |i, y| {
        let bias = bias[i % bias.len()];
        y.iter_mut().for_each(|y| *y += bias);
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, check_gradient, dot, numbers, same_with_one_and_two_threads};
    use super::*;

    fn naive(c: &Conv, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let (inputs, outputs) = (c.inputs / c.groups, c.outputs / c.groups);
        let mut y = Vec::new();
        for b in 0..c.batch {
            for o in 0..c.outputs {
                for (oy, ox) in (0..c.output.0).flat_map(|oy| (0..c.output.1).map(move |ox| (oy, ox))) {
                    let mut sum = bias[o];
                    for i in 0..inputs {
                        for (ky, kx) in (0..c.kernel.0).flat_map(|ky| (0..c.kernel.1).map(move |kx| (ky, kx))) {
                            let iy = (oy * c.stride.0 + ky * c.dilation.0).wrapping_sub(c.padding.0);
                            let ix = (ox * c.stride.1 + kx * c.dilation.1).wrapping_sub(c.padding.1);
                            if iy < c.size.0 && ix < c.size.1 {
                                let channel = b * c.inputs + o / outputs * inputs + i;
                                sum += x[(channel * c.size.0 + iy) * c.size.1 + ix]
                                    * weight[((o * inputs + i) * c.kernel.0 + ky) * c.kernel.1 + kx];
                            }
                        }
                    }
                    y.push(sum);
                }
            }
        }
        y
    }

    fn options(stride: usize, padding: usize, dilation: usize, groups: usize) -> ConvOptions {
        ConvOptions {
            stride,
            padding,
            dilation,
            groups,
        }
    }

    #[test]
    fn convolutions_agree_with_the_definition_and_finite_differences() {
        let cases = [
            Conv::new_1d(2, (3, 4), 9, 3, options(1, 1, 1, 1)),
            Conv::new_1d(5, (4, 6), 10, 3, options(2, 2, 2, 2)),
            Conv::new_1d(2, (3, 3), 8, 5, options(1, 4, 1, 3)),
            Conv::new_1d(1, (2, 2), 3, 2, options(3, 7, 1, 1)),
            Conv::new_1d(3, (4, 2), 6, 1, options(1, 0, 1, 2)),
            Conv::new_1d(2, (2, 4), 21, 3, options(1, 1, 1, 2)),
            Conv::new_2d(1, (2, 12), (6, 5), (3, 3), options(2, 1, 1, 2)),
            Conv::new_2d(2, (2, 3), (5, 6), (3, 2), options(1, 1, 1, 1)),
            Conv::new_2d(2, (2, 4), (7, 5), (2, 3), options(2, 1, 2, 2)),
        ];
        for conv in cases.map(|conv| conv.unwrap()) {
            let (x, w, y) = conv.lengths();
            let (x, w, g): (Vec<f64>, Vec<f64>, Vec<f64>) = (numbers(x, 1), numbers(w, 2), numbers(y, 3));
            let b: Vec<f64> = numbers(conv.outputs, 4);
            let run = |x: &[f64], w: &[f64], b: &[f64]| {
                let mut y = vec![f64::NAN; g.len()];
                forward(&conv, x, w, Some(b), &mut y);
                y
            };
            assert_close(&run(&x, &w, &b), &naive(&conv, &x, &w, &b), 1e-12);
            let (mut dx, mut dw, mut db) = (vec![9.0; x.len()], vec![9.0; w.len()], vec![9.0; b.len()]);
            backward_input(&conv, &w, &g, &mut dx);
            backward_weight(&conv, &x, &g, &mut dw);
            backward_bias(conv.batch, conv.positions(), &g, &mut db);
            check_gradient(&x, &dx, |x| dot(&run(x, &w, &b), &g));
            check_gradient(&w, &dw, |w| dot(&run(&x, w, &b), &g));
            check_gradient(&b, &db, |b| dot(&run(&x, &w, b), &g));
        }
        assert_eq!(Conv::new_1d(1, (1, 1), 3, 5, options(1, 0, 1, 1)), None);
    }

    #[test]
    fn a_long_input_goes_through_several_blocks() {
        let conv = Conv::new_1d(1, (40, 3), 9001, 3, options(2, 1, 1, 1)).unwrap();
        assert!(conv.blocks().count() > 2);
        let (x, w, _) = conv.lengths();
        let (x, w): (Vec<f64>, Vec<f64>) = (numbers(x, 1), numbers(w, 2));
        let want = naive(&conv, &x, &w, &[0.0; 3]);
        let mut y = vec![f64::NAN; want.len()];
        forward(&conv, &x, &w, None, &mut y);
        assert_close(&y, &want, 1e-12);
        // <y, conv x> = <conv' y, x> = <dw, w>
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        backward_input(&conv, &w, &y, &mut dx);
        backward_weight(&conv, &x, &y, &mut dw);
        let want = dot(&y, &y);
        assert!((dot(&dx, &x) - want).abs() < 1e-9 * want && (dot(&dw, &w) - want).abs() < 1e-9 * want);
    }

    #[test]
    fn a_transposed_convolution_agrees_with_the_definition() {
        let (inputs, outputs, length, kernel) = (4, 6, 5, 3);
        let o = options(2, 1, 2, 2);
        let conv = Conv::transposed_1d(2, (inputs, outputs), length, kernel, o, 1).unwrap();
        let out = (length - 1) * 2 - 2 + 2 * (kernel - 1) + 1 + 1;
        assert_eq!((conv.size, conv.lengths().2), ((1, out), 2 * inputs * length));
        let x: Vec<f64> = numbers(2 * inputs * length, 1);
        let w: Vec<f64> = numbers(inputs * outputs / 2 * kernel, 2);
        let bias: Vec<f64> = numbers(outputs, 3);
        let mut want = vec![0.0; 2 * outputs * out];
        for (b, i) in (0..2).flat_map(|b| (0..inputs).map(move |i| (b, i))) {
            for (o, l, k) in (0..3).flat_map(|o| (0..length).flat_map(move |l| (0..kernel).map(move |k| (o, l, k)))) {
                let at = (l * 2 + k * 2).wrapping_sub(1);
                if at < out {
                    want[(b * outputs + i / 2 * 3 + o) * out + at] +=
                        x[(b * inputs + i) * length + l] * w[(i * 3 + o) * kernel + k];
                }
            }
        }
        want.chunks_mut(out)
            .enumerate()
            .for_each(|(i, y)| y.iter_mut().for_each(|y| *y += bias[i % outputs]));
        let run = |x: &[f64], w: &[f64]| {
            let mut y = vec![0.0; want.len()];
            backward_input(&conv, w, x, &mut y);
            add_bias(out, &bias, &mut y);
            y
        };
        assert_close(&run(&x, &w), &want, 1e-12);
        let g: Vec<f64> = numbers(want.len(), 4);
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
        forward(&conv, &g, &w, None, &mut dx);
        backward_weight(&conv, &g, &x, &mut dw);
        check_gradient(&x, &dx, |x| dot(&run(x, &w), &g));
        check_gradient(&w, &dw, |w| dot(&run(&x, w), &g));
    }

    #[test]
    fn threads_change_no_bit() {
        let conv = Conv::new_2d(9, (8, 16), (24, 24), (3, 3), options(1, 1, 1, 1)).unwrap();
        let (x, w, y) = conv.lengths();
        let (x, w): (Vec<f32>, Vec<f32>) = (numbers(x, 1), numbers(w, 2));
        same_with_one_and_two_threads(|| {
            let (mut y, mut dx, mut dw) = (vec![0.0; y], vec![0.0; x.len()], vec![0.0; w.len()]);
            forward(&conv, &x, &w, None, &mut y);
            backward_input(&conv, &w, &y, &mut dx);
            backward_weight(&conv, &x, &y, &mut dw);
            (y, dx, dw)
        });
    }
}
