package modelfile

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dougong-io/dougong/services/inference/tree"
)

// xgboost reads one model of XGBoost. The schema is that of doc/model.schema in XGBoost's source;
// what each release really writes was taken from the fixtures.
type xgboost struct {
	document
	features int // num_feature
	scratch  shapeScratch
}

func parseXGBoost(format string, d document) (*tree.Ensemble, error) {
	x := &xgboost{document: d}
	root, err := d.root()
	if err != nil {
		return nil, err
	}
	top, err := x.fields(root, "learner", "version")
	if err != nil {
		return nil, err
	}
	e := &tree.Ensemble{Format: format, Precision: tree.Float32, SigmoidScale: 1}
	if e.Library, err = x.version(top[1]); err != nil {
		return nil, within("version", err)
	}
	if err := x.learner(top[0], e); err != nil {
		return nil, within("learner", err)
	}
	return e, nil
}

// version checks the list [major, minor, patch].
func (x *xgboost) version(v value) (string, error) {
	var parts [3]int
	n, err := x.integers(v, 0, math.MaxInt32, func(i, part int) error {
		if i < len(parts) {
			parts[i] = part
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if n != len(parts) {
		return "", damaged(v.pos, "a version of %d numbers, not 3", n)
	}
	version := fmt.Sprintf("%d.%d.%d", parts[0], parts[1], parts[2])
	if parts[0] < 1 || parts[0] > 3 {
		return "", unsupported(v.pos, "written by XGBoost %s; known are 1.0 to 3.x", version)
	}
	return version, nil
}

func (x *xgboost) learner(v value, e *tree.Ensemble) error {
	f, err := x.fields(v, "learner_model_param", "objective", "gradient_booster", "feature_names?", "feature_types?", "attributes?")
	if err != nil {
		return err
	}
	param, err := x.fields(f[0], "base_score", "num_class", "num_feature", "num_target?", "boost_from_average?")
	if err != nil {
		return within("learner_model_param", err)
	}
	classes, err := x.param(param[1], 0, math.MaxInt32)
	if err != nil {
		return within("learner_model_param.num_class", err)
	}
	if x.features, err = x.param(param[2], 1, math.MaxInt32); err != nil {
		return within("learner_model_param.num_feature", err)
	}
	if param[3].present() {
		targets, err := x.param(param[3], 0, math.MaxInt32)
		if err == nil && targets > 1 {
			err = unsupported(param[3].pos, "num_target %d: more than one target is not supported", targets)
		}
		if err != nil {
			return within("learner_model_param.num_target", err)
		}
	}
	if err := x.objective(f[1], classes, e); err != nil {
		return within("objective", err)
	}
	if err := x.booster(f[2], e); err != nil {
		return within("gradient_booster", err)
	}
	// Only now: the trees have shown that the file is long enough for its number of classes.
	if e.Base, err = x.baseScore(param[0], e); err != nil {
		return within("learner_model_param.base_score", err)
	}
	if f[4].present() {
		if err := x.featureTypes(f[4]); err != nil {
			return within("feature_types", err)
		}
	}
	if e.Features, e.Named, err = x.featureNames(f[3], param[2].pos); err != nil {
		return within("feature_names", err)
	}
	if f[5].present() {
		return within("attributes", x.attributes(f[5]))
	}
	return nil
}

func (x *xgboost) objective(v value, classes int, e *tree.Ensemble) error {
	f, err := x.fields(v, "name", "reg_loss_param?", "softmax_multiclass_param?", "*")
	if err != nil {
		return err
	}
	if e.Objective, err = x.string(f[0]); err != nil {
		return within("name", err)
	}
	switch e.Objective {
	case "reg:squarederror":
		e.Transform, e.Outputs = tree.Identity, 1
	case "binary:logistic":
		e.Transform, e.Outputs = tree.Sigmoid, 1
	case "multi:softprob":
		e.Transform, e.Outputs = tree.Softmax, classes
	default:
		return unsupported(f[0].pos, "objective %q is not supported", excerpt(e.Objective))
	}
	if f[3].present() {
		return unsupported(f[3].pos, "unknown parameters of the objective %q", e.Objective)
	}
	if e.Transform != tree.Softmax {
		if classes > 1 || f[2].present() {
			return damaged(v.pos, "%d classes, but the objective is %s", classes, e.Objective)
		}
		return nil
	}
	if classes < 2 {
		return damaged(v.pos, "num_class is %d, but the objective is %s", classes, e.Objective)
	}
	if f[2].present() {
		param, err := x.fields(f[2], "num_class")
		if err != nil {
			return within("softmax_multiclass_param", err)
		}
		n, err := x.param(param[0], 0, math.MaxInt32)
		if err != nil {
			return within("softmax_multiclass_param.num_class", err)
		}
		if n != classes {
			return damaged(param[0].pos, "the objective has %d classes, the model %d", n, classes)
		}
	}
	return nil
}

func (x *xgboost) booster(v value, e *tree.Ensemble) error {
	// The name comes last in the file, and other boosters have other keys: it decides first.
	f, err := x.fields(v, "name", "model?", "*")
	if err != nil {
		return err
	}
	name, err := x.string(f[0])
	if err != nil {
		return within("name", err)
	}
	if name != "gbtree" {
		return unsupported(f[0].pos, "booster %q is not supported", excerpt(name))
	}
	if f[2].present() || !f[1].present() {
		return unsupported(v.pos, "a gbtree booster with keys other than model and name")
	}
	return within("model", x.model(f[1], e))
}

func (x *xgboost) model(v value, e *tree.Ensemble) error {
	f, err := x.fields(v, "gbtree_model_param", "trees", "tree_info", "iteration_indptr?", "cats?")
	if err != nil {
		return err
	}
	param, err := x.fields(f[0], "num_trees", "num_parallel_tree?", "size_leaf_vector?")
	if err != nil {
		return within("gbtree_model_param", err)
	}
	stated, err := x.param(param[0], 0, math.MaxInt32)
	if err != nil {
		return within("gbtree_model_param.num_trees", err)
	}
	parallel := 1
	if param[1].present() {
		if parallel, err = x.param(param[1], 1, math.MaxInt32); err != nil {
			return within("gbtree_model_param.num_parallel_tree", err)
		}
	}
	if err := x.scalarLeaf(param[2]); err != nil {
		return within("gbtree_model_param.size_leaf_vector", err)
	}
	if f[4].present() {
		if err := x.noCategories(f[4]); err != nil {
			return within("cats", err)
		}
	}
	if err := x.readTrees(f[1], e); err != nil {
		return within("trees", err)
	}
	if len(e.Trees) != stated {
		return damaged(f[1].pos, "%d trees, but num_trees is %d", len(e.Trees), stated)
	}
	if stated == 0 {
		return unsupported(f[1].pos, "a model without trees")
	}
	if err := x.treeInfo(f[2], parallel, e); err != nil {
		return within("tree_info", err)
	}
	if f[3].present() {
		return within("iteration_indptr", x.iterations(f[3], stated))
	}
	return nil
}

// treeInfo reads the output of each tree. A round of training adds num_parallel_tree trees for
// each output in turn.
func (x *xgboost) treeInfo(v value, parallel int, e *tree.Ensemble) error {
	// The check of the count comes first and bounds the outputs: no overflow is possible.
	if len(e.Trees)/e.Outputs/parallel*e.Outputs*parallel != len(e.Trees) {
		return damaged(v.pos, "%d trees are no multiple of %d outputs and %d parallel trees", len(e.Trees), e.Outputs, parallel)
	}
	n, err := x.integers(v, 0, e.Outputs-1, func(i, output int) error {
		if i < len(e.Trees) {
			if want := i / parallel % e.Outputs; output != want {
				return damaged(v.pos, "tree %d adds to output %d, expected %d", i, output, want)
			}
			e.Trees[i].Output = output
		}
		return nil
	})
	if err == nil && n != len(e.Trees) {
		err = damaged(v.pos, "%d entries for %d trees", n, len(e.Trees))
	}
	return err
}

// iterations checks the index of the first tree of each round, which a score does not need.
func (x *xgboost) iterations(v value, trees int) error {
	last := 0
	n, err := x.integers(v, 0, trees, func(i, first int) error {
		if first < last || i == 0 && first != 0 {
			return damaged(v.pos, "entry %d is %d after %d", i, first, last)
		}
		last = first
		return nil
	})
	if err == nil && n > 0 && last != trees {
		err = damaged(v.pos, "the rounds end at tree %d of %d", last, trees)
	}
	return err
}

// noCategories refuses the re-coding of categories that XGBoost 3.1 and later can keep in a model.
func (x *xgboost) noCategories(v value) error {
	names := []string{"enc", "feature_segments", "sorted_idx"}
	f, err := x.fields(v, names...)
	if err != nil {
		return err
	}
	for _, list := range f[:len(names)] {
		n, err := length(x, list)
		if err != nil {
			return err
		}
		if n > 0 {
			return unsupported(list.pos, "categorical features are not supported")
		}
	}
	return nil
}

// baseScore reads "5E-1" or, since 3.1, "[5E-1]" with one score or one for each class. For
// binary:logistic it is a probability, and the margin is computed in float32 as XGBoost does.
func (x *xgboost) baseScore(v value, e *tree.Ensemble) ([]float64, error) {
	s, err := x.string(v)
	if err != nil {
		return nil, err
	}
	list := s
	if bracketed, ok := strings.CutPrefix(s, "["); ok {
		if list, ok = strings.CutSuffix(bracketed, "]"); !ok {
			return nil, damaged(v.pos, "%q is not a list", excerpt(s))
		}
	}
	n := strings.Count(list, ",") + 1
	if n != 1 && n != e.Outputs {
		return nil, damaged(v.pos, "%d base scores for %d outputs", n, e.Outputs)
	}
	base := make([]float64, 0, e.Outputs)
	for part := range strings.SplitSeq(list, ",") {
		if strings.ContainsAny(part, "_xXpP") { // strconv allows more than decimal numbers
			return nil, damaged(v.pos, "%q is not a number", excerpt(part))
		}
		wide, err := strconv.ParseFloat(part, 32)
		score := float32(wide)
		if err != nil || !finite(score) {
			return nil, damaged(v.pos, "%q is not a finite number", excerpt(part))
		}
		if e.Transform == tree.Sigmoid {
			if score <= 0 || score >= 1 {
				return nil, damaged(v.pos, "base score %v is no probability", score)
			}
			odds := 1/score - 1
			if score = -float32(math.Log(float64(odds))); !finite(score) {
				return nil, damaged(v.pos, "base score %q has no finite logit", excerpt(part))
			}
		}
		base = append(base, float64(score))
	}
	for len(base) < e.Outputs {
		base = append(base, base[0])
	}
	return base, nil
}

func (x *xgboost) featureTypes(v value) error {
	n, err := x.strings(v, func(i int, s string, pos int) error {
		switch s {
		case "float", "q", "int", "i":
			return nil
		case "c":
			return unsupported(pos, "feature %d is categorical: XGBoost's categorical features are not supported", i)
		}
		return unsupported(pos, "feature %d has the unknown type %q", i, excerpt(s))
	})
	if err == nil && n > 0 && n != x.features {
		err = damaged(v.pos, "%d types for %d features", n, x.features)
	}
	return err
}

// featureNames returns the names, made up if the file (position pos for messages) has none.
func (x *xgboost) featureNames(v value, pos int) (names []string, named bool, err error) {
	n := 0
	if v.present() {
		if n, err = length(x, v); err != nil {
			return nil, false, err
		}
	}
	if n == 0 {
		names, err = madeUpNames(x.features, pos, x.fileSize())
		return names, false, err
	}
	if n != x.features {
		return nil, false, damaged(v.pos, "%d names for %d features", n, x.features)
	}
	names = make([]string, 0, n)
	_, err = x.strings(v, func(_ int, s string, _ int) error {
		names = append(names, s)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return names, true, checkNames(names, v.pos)
}

// madeUpNames returns f0, f1, …. A row is as wide as the model says, so a damaged count could ask
// for any amount of memory: it must be in proportion to the file.
func madeUpNames(features, pos, fileSize int) ([]string, error) {
	if most := max(256, fileSize/4); features > most {
		return nil, unsupported(pos, "%d features without names in a file of %d bytes (at most %d; name the features)", features, fileSize, most)
	}
	names := make([]string, features)
	for i := range names {
		names[i] = "f" + strconv.Itoa(i)
	}
	return names, nil
}

// checkNames refuses names that a request could not tell apart.
func checkNames(names []string, pos int) error {
	order := make([]int32, len(names))
	for i, name := range names {
		if name == "" {
			return damaged(pos, "feature %d has an empty name", i)
		}
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(names[a], names[b]) })
	for i := 1; i < len(order); i++ {
		if a, b := order[i-1], order[i]; names[a] == names[b] {
			return damaged(pos, "features %d and %d are both named %q", min(a, b), max(a, b), excerpt(names[a]))
		}
	}
	return nil
}

// attributes are the user's notes: any keys, each once, and strings.
func (x *xgboost) attributes(v value) error {
	if x.kind(v) != object {
		return damaged(v.pos, "not an object")
	}
	c, err := x.open(v)
	if err != nil {
		return err
	}
	var keys [][]byte
	for {
		key, member, ok, err := x.key(&c)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if len(keys) == maxAttributes {
			return unsupported(v.pos, "more than %d attributes", maxAttributes)
		}
		keys = append(keys, key)
		if x.kind(member) != text {
			return damaged(member.pos, "attribute %q is not a string", excerpt(key))
		}
		if c.at, err = x.skip(member); err != nil {
			return err
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	for i := 1; i < len(keys); i++ {
		if bytes.Equal(keys[i-1], keys[i]) {
			return damaged(v.pos, "attribute %q occurs twice", excerpt(keys[i]))
		}
	}
	return nil
}

// maxAttributes bounds the memory for the check that no attribute occurs twice.
const maxAttributes = 1024

func finite(f float32) bool { return !math.IsInf(float64(f), 0) && f == f }
