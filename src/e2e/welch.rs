//! Whether two series of measured times differ by more than chance.

/// Two series without what was slow for reasons of its own: a time above the 90th percentile of both together says more
/// about the machine than about who was asked.
pub(crate) struct Compared {
    /// The middle of what is left of each, in the unit of the times.
    pub(crate) medians: [f64; 2],
    /// Welch's t for the difference of the means; beyond 4.5 in either direction chance is no explanation any more.
    pub(crate) t: f64,
}

/// `None` when one of the series is too short to tell.
pub(crate) fn compare(series: [Vec<u64>; 2]) -> Option<Compared> {
    let mut all: Vec<u64> = series.iter().flatten().copied().collect();
    all.sort_unstable();
    let slowest = *all.get((all.len() * 9 / 10).checked_sub(1)?)?;
    let [one, other] = series.map(|mut times| {
        times.retain(|time| *time <= slowest);
        times.sort_unstable();
        times
    });
    let ((mean, error), (others_mean, others_error)) = (mean_and_error(&one)?, mean_and_error(&other)?);
    let spread = (error + others_error).sqrt();
    let difference = mean - others_mean;
    // Times that are all the same differ for sure, or not at all.
    let t = if difference == 0.0 { 0.0 } else { difference / spread };
    Some(Compared { medians: [median(&one)?, median(&other)?], t })
}

/// The mean, and the square of its standard error.
fn mean_and_error(times: &[u64]) -> Option<(f64, f64)> {
    let count = times.len() as f64;
    if times.len() < 2 {
        return None;
    }
    let mean = times.iter().map(|time| *time as f64).sum::<f64>() / count;
    let squares: f64 = times.iter().map(|time| (*time as f64 - mean).powi(2)).sum();
    Some((mean, squares / (count - 1.0) / count))
}

fn median(sorted: &[u64]) -> Option<f64> {
    let (low, high) = (sorted.get((sorted.len().checked_sub(1)?) / 2)?, sorted.get(sorted.len() / 2)?);
    Some((*low as f64 + *high as f64) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_difference_has_the_known_t() {
        // Eleven times; the tail is the one of 90.
        let compared = compare([vec![10, 12, 14, 16, 90], vec![11, 13, 15, 17, 19, 21]]).expect("enough");
        assert_eq!(compared.medians, [13.0, 15.0], "without 21 and 90");
        // Means 13 and 15, variances 20/3 and 10, of 4 and 5: -2 / sqrt(5/3 + 2).
        assert!((compared.t + 2.0 / (5.0_f64 / 3.0 + 2.0).sqrt()).abs() < 1e-12, "{}", compared.t);
    }

    #[test]
    fn chance_alone_is_no_difference_and_a_real_one_is_seen() {
        let series = |from: u64| (0..1000).map(|n| from + n * 7919 % 101).collect::<Vec<u64>>();
        assert!(compare([series(100), series(100)]).expect("enough").t.abs() < 1e-9);
        let seen = compare([series(100), series(120)]).expect("enough");
        assert!(seen.t < -4.5, "{}", seen.t);
        assert_eq!(compare([vec![5; 10], vec![5; 10]]).expect("enough").t, 0.0);
    }

    #[test]
    fn too_few_times_tell_nothing() {
        for series in [[vec![], vec![]], [vec![1], vec![1]], [vec![1, 2, 3], vec![]], [vec![1, 1, 1], vec![9]]] {
            assert!(compare(series.clone()).is_none(), "{series:?}");
        }
    }
}
