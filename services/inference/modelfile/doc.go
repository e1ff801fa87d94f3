// Package modelfile reads the files in which XGBoost and LightGBM keep their models into the
// format-free tree.Ensemble. It is for whoever loads a model; it does not score one (package
// tree does), and it never guesses: what a model uses and the engine does not support is
// refused by name, and a file that contradicts itself is refused with the position.
//
//	data, err := os.ReadFile("loan.json")
//	…
//	ensemble, err := modelfile.Parse("loan.json", data)
//	if errors.Is(err, modelfile.ErrUnsupported) {
//		log.Print(err) // loan.json: byte 812: learner.gradient_booster: booster "gblinear" is not supported
//	}
//
// # Supported
//
//   - XGBoost 1.0 to 3.x, JSON and UBJSON: the booster gbtree with binary:logistic,
//     reg:squarederror and multi:softprob, with num_parallel_tree (such trees are summed like any
//     others: training has already divided their leaves).
//   - LightGBM text, versions v2, v3 and v4 (LightGBM 2 to 4): binary (with sigmoid), regression
//     and multiclass, with categorical splits and all three kinds of missing values. A dart model's
//     file holds the final leaves and is scored like any other.
//
// A score takes all trees of the file, as Booster.predict does. XGBoost's scikit-learn wrapper
// stops at the attribute best_iteration: save the sliced model if that is meant.
//
// The values of a LightGBM categorical feature are the integer codes that the model was trained
// on. With a pandas categorical column the file also lists the categories' names
// (pandas_categorical); they are not applied: a row must carry the code, the position in that list.
//
// # Refused
//
// XGBoost: gblinear, dart, categorical features and splits, vector leaves
// (multi_strategy=multi_output_tree), num_target > 1, every other objective, the binary format,
// versions before 1.0 and after 3. LightGBM: random forests (average_output), linear trees, a model
// without an objective, every other objective (reg_sqrt too), other versions of the text format.
// Both: keys that these versions do not write (they might change a score), and infinite thresholds
// and leaves, which no training writes.
//
// # Damage
//
// Parsing never panics, takes time in proportion to the file (sorting names aside) and memory of
// less than ten times the file: nothing is allocated for a count that the bytes do not bear out.
package modelfile
