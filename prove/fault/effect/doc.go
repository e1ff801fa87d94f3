// Package effect says what a fault changed, from windows of load with the fault on and off: by how much median and p99
// rose and how many more requests failed, each with a 95 % interval, and whether an effect may be claimed at all. It is
// arithmetic only; package fault makes the windows.
//
//	pairs = append(pairs, effect.Pair{Off: off, On: on}) // eight or more; a coin says which comes first
//	e := effect.Compare(pairs, hits > 0)
//	fmt.Println(e.Verdict, e.P50.Value, e.P50.Low, e.P50.High) // effect 5.01 4.98 5.05, milliseconds
//
// Do not use it to compare two versions that ran at different times, nor windows whose order was not drawn: nothing
// then tells the fault from what else changed meanwhile.
//
// # Method
//
// What must be told apart is the fault and everything else that differs between two windows: drift, caches that warm
// up, a neighbour's burst, requests that queue behind each other. Requests of one window are not independent, so that an
// interval made from their number would be far too narrow. Windows are what counts here: each pair gives one
// difference a measure, and its requests only make that difference sharper.
//
// Which window of a pair has the fault is decided by a fair coin, each pair by its own. That alone carries the proof (R. A.
// Fisher, The Design of Experiments, 1935). Let u be what the first window of a pair would show more than the second
// without a fault, for whatever reason, and let the fault add Δ. The difference on less off is Δ+u or Δ-u, by the
// coin: symmetric about Δ, independent of other pairs, with no assumption about u.
//
//   - Latencies: the Hodges–Lehmann estimate of the differences of the window's quantiles and the exact interval of the
//     signed-rank test (F. Wilcoxon, 1945; J. L. Hodges and E. L. Lehmann, 1963), which asks for that symmetry and no
//     more. A window that a burst spoilt can move it little, where a mean would follow. It is widened by half a bucket
//     of the histogram for either side, so that it is never narrower than what was measured. With fewer than MinPairs
//     pairs it is Student's interval about the mean, which does assume normal differences.
//   - Shares (time-outs, errors, degraded, lost): the difference of the shares of all requests, and the wider of two
//     intervals: Student's, from the differences of the pairs, for failures that come in lots, and Newcombe's (1998,
//     method 10), from the counts, for failures too rare to be in each window.
//   - Claims: six measures are looked at, so one in four faults that do nothing would show "an effect at 5 %" in one
//     of them. The claim holds the family: all 2ⁿ ways in which the coins could have fallen are tried (10,000 drawn ones
//     beyond 13 pairs), and a measure's P is the share of them in which any measure comes out as extreme (step-down of the
//     largest statistic: P. H. Westfall and S. S. Young, Resampling-Based Multiple Testing, 1993; Holm's bound would
//     never claim anything of six pairs). The statistic is the sum of the differences over their root sum of squares,
//     each counted for at most one and a half times the median one. The printed intervals are for one measure each and do not
//     know of the family; a claim also asks that the interval leaves out 0.
//   - The errors that are allowed are half of what is promised, 2.5 % (3.1 % for six pairs, which know multiples of 1/32 only), so
//     that a hundred runs keep a promise of 95 in 100 and not only endless ones.
//   - A fault that was never hit claims nothing.
//
// What the symmetry does not give: a fault that changes the shape (three times as slow, rather than 5 ms slower) is
// covered by simulation only, see docs/prove-faults.md; a p99 of fewer than some 300 requests a window is one of its slowest
// few, and leans a little; and a fault that works on after it is off spoils the window after it: leave a guard between them.
package effect
