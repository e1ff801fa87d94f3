// Package tree scores gradient-boosted tree ensembles (XGBoost, LightGBM) in pure Go. It compares and
// adds as these libraries do (in float32 or float64, tree after tree), so that its answers differ
// from theirs at most in the last digits of an exponential; bench/inference measures it against them.
//
//	ensemble, err := modelfile.Parse("loan.json", data)
//	…
//	model, err := tree.Compile(ensemble)
//	…
//	answers := make([]float64, n*model.Outputs())
//	err = model.Predict(answers, rows) // n rows of model.Features() values, NaN where one is missing
//
// It is for a service that scores requests, one row or some hundred at a time. It is not for
// training, for explanations (SHAP values), for sparse rows of many thousand features, or for models
// other than trees; a call uses one core, so spread large jobs over goroutines: a Model may be used
// by any number of them.
//
// # Kernels
//
// Compile reduces every kind of split, missing value and precision to one form (column, key), lays
// the trees out for the kernels that suit them, and decides by measured costs (choose.go) which one
// scores how many rows:
//
//   - quickScorer, single rows: strikes the leaves that a row cannot reach from bit masks. Lucchese,
//     Nardini, Orlando, Perego, Tonellotto, Venturini, "QuickScorer: a Fast Algorithm to Rank
//     Documents with Additive Ensembles of Regression Trees", SIGIR 2015.
//   - walker, single rows of ensembles too large for that: follows eight paths at a time without
//     branching. After Asadi, Lin, de Vries, "Runtime Optimizations for Tree-based Machine Learning
//     Models", TKDE 2014.
//   - sliced, batches: evaluates trees as Boolean circuits over bit vectors of 64 rows, or 128 with
//     AVX2. Comparisons as bit vectors are from Ye, Zhou, Zou, Gao, Zhang, "RapidScorer: Fast Tree
//     Ensemble Evaluation by Maximizing Compactness in Data Level Parallelization", KDD 2018;
//     circuits are from Biham, "A Fast New DES Implementation in Software", FSE 1997.
//
// The kernels agree to the bit with each other and with [Reference], which the tests hold them to.
// The build tag noasm leaves the assembly out; the results are the same.
package tree
