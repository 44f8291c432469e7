//! An order of samples that follows from a seed and an epoch alone: the same on every machine, for ever.

/// SplitMix64 (Steele, Lea and Flood, 2014): a counter whose every value is mixed into 64 random bits.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`. The high half of a product is even enough: off by less than `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The numbers below `count` in a random order (Fisher-Yates). Different seeds, and different epochs of a seed, give
/// unrelated orders.
pub fn permutation(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    // The epoch is mixed before it meets the seed, or (seed 1, epoch 0) would be (seed 0, epoch 1).
    let mut random = SplitMix64(seed ^ mix(epoch.wrapping_add(0x6a09_e667_f3bc_c909)));
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first values for the seed 1234567, from the authors' reference implementation.
        let mut random = SplitMix64(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn an_order_never_changes() {
        assert_eq!(permutation(10, 42, 0), permutation(10, 42, 0));
        assert_eq!(permutation(0, 1, 1), [0; 0]);
        assert_eq!(permutation(1, 1, 1), [0]);
    }

    #[test]
    fn seeds_and_epochs_give_different_orders_of_the_same_numbers() {
        let mut orders = HashSet::new();
        for seed in 0..10 {
            for epoch in 0..10 {
                let order = permutation(50, seed, epoch);
                assert_eq!(order.iter().collect::<HashSet<_>>().len(), 50);
                orders.insert(order);
            }
        }
        assert_eq!(orders.len(), 100);
    }

    #[test]
    fn every_place_is_equally_likely() {
        let mut counts = [[0u32; 5]; 5];
        for epoch in 0..5_000 {
            permutation(5, 7, epoch)
                .iter()
                .enumerate()
                .for_each(|(place, &number)| counts[place][number] += 1);
        }
        // 1 000 expected; the standard deviation is 28.
        assert!(
            counts.as_flattened().iter().all(|count| (880..1_120).contains(count)),
            "{counts:?}"
        );
    }
}
