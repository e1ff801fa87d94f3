package modelfile

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnsupportedModelsAreRefusedByName(t *testing.T) {
	because := map[string]string{
		"gblinear":                `booster "gblinear"`,
		"dart":                    `booster "dart"`,
		"objective-poisson":       `objective "`,
		"objective-softmax":       `objective "multi:softmax"`,
		"objective-rank":          `objective "rank:pairwise"`,
		"categorical":             "categorical",
		"num-target":              "num_target 2",
		"multi-output-tree":       "num_target 2",
		"multi-output-softprob":   "multi_output_tree",
		"binary-format":           "XGBoost's binary format",
		"random-forest":           "average_output",
		"objective-l1":            `objective "regression_l1`,
		"objective-one-vs-all":    `objective "multiclassova`,
		"objective-cross-entropy": `entropy" is not supported`,
		"square-root":             `objective "regression sqrt"`,
		"linear-tree":             "linear trees",
	}
	tried := map[string]bool{}
	for _, path := range fixtures(t, true) {
		name := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), "refused-")
		tried[name] = true
		_, err := Parse(path, read(t, path))
		if !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want it unsupported", path, err)
			continue
		}
		if because[name] == "" || !strings.Contains(err.Error(), because[name]) {
			t.Errorf("%v, want it to name %q", err, because[name])
		}
	}
	for name := range because {
		if !tried[name] {
			t.Errorf("no fixture %s", name)
		}
	}
}

// edit is one change to a good file and what Parse must say to it.
type edit struct {
	name, old, new string
	kind           error
	message        string
}

func (c edit) run(t *testing.T, path string) {
	t.Run(c.name, func(t *testing.T) {
		good := string(read(t, path))
		if !strings.Contains(good, c.old) {
			t.Fatalf("%s does not contain %s", path, c.old)
		}
		_, err := Parse("model", []byte(strings.Replace(good, c.old, c.new, 1)))
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.message) {
			t.Fatalf("%v, want %v with %q", err, c.kind, c.message)
		}
		var e *Error
		if !errors.As(err, &e) || e.File != "model" || e.Offset < 0 {
			t.Fatalf("%#v is no *Error with a file and a position", err)
		}
	})
}

func TestXGBoostFilesThatContradictThemselves(t *testing.T) {
	for _, c := range []edit{
		{"future version", `"version":[3,2,0]`, `"version":[4,0,0]`, ErrUnsupported, "4.0.0"},
		{"ancient version", `"version":[3,2,0]`, `"version":[0,90,0]`, ErrUnsupported, "0.90.0"},
		{"no version", `,"version":[3,2,0]`, ``, ErrDamaged, `key "version" is missing`},
		{"unknown key at the top", `"version":`, `"Config":{},"version":`, ErrUnsupported, `unknown key "Config"`},
		{"unknown key in a tree", `"id":0`, `"leaf_scale":[2],"id":0`, ErrUnsupported, `trees[0]: unknown key "leaf_scale"`},
		{"unknown key of the model", `"num_target":"1"`, `"num_target":"1","temperature":"2"`, ErrUnsupported, `unknown key "temperature"`},
		{"unknown objective parameter", `"scale_pos_weight":"1"}`, `"scale_pos_weight":"1"},"focal_param":{}`, ErrUnsupported, "unknown parameters"},
		{"duplicate key", `"id":0`, `"id":0,"id":0`, ErrDamaged, `"id" occurs twice`},
		{"duplicate attribute", `"attributes":{}`, `"attributes":{"a":"1","a":"2"}`, ErrDamaged, `attribute "a" occurs twice`},
		{"two targets", `"num_target":"1"`, `"num_target":"2"`, ErrUnsupported, "num_target 2"},
		{"vector leaf", `"size_leaf_vector":"1"`, `"size_leaf_vector":"3"`, ErrUnsupported, "vector leaves"},
		{"categorical split", `"split_type":[0`, `"split_type":[1`, ErrUnsupported, "categorical splits"},
		{"categories", `"categories":[]`, `"categories":[3]`, ErrUnsupported, "categorical splits"},
		{"category recoding", `"enc":[]`, `"enc":[{}]`, ErrUnsupported, "categorical features"},
		{"categorical feature", `"feature_types":["float"`, `"feature_types":["c"`, ErrUnsupported, "feature 0 is categorical"},
		{"names for other features", `"feature_names":["age",`, `"feature_names":[`, ErrDamaged, "5 names for 6 features"},
		{"the same name twice", `"feature_names":["age",`, `"feature_names":["斗拱",`, ErrDamaged, "both named"},
		{"a tree too many", `"num_trees":"2"`, `"num_trees":"3"`, ErrDamaged, "num_trees is 3"},
		{"a tree output too many", `"tree_info":[0,0]`, `"tree_info":[0,0,0]`, ErrDamaged, "3 entries for 2 trees"},
		{"output out of range", `"tree_info":[0,0]`, `"tree_info":[0,1]`, ErrDamaged, "1 is not between 0 and 0"},
		{"parallel trees", `"num_parallel_tree":"1"`, `"num_parallel_tree":"4"`, ErrDamaged, "no multiple"},
		{"rounds", `"iteration_indptr":[0,1,2]`, `"iteration_indptr":[0,1,1]`, ErrDamaged, "the rounds end at tree 1 of 2"},
		{"classes of a binary model", `"num_class":"0"`, `"num_class":"3"`, ErrDamaged, "3 classes"},
		{"fewer nodes", `"num_nodes":"7"`, `"num_nodes":"5"`, ErrDamaged, "7 entries for 5 nodes"},
		{"deleted nodes", `"num_deleted":"0"`, `"num_deleted":"1"`, ErrDamaged, "stated are 1"},
		{"a circle", `"left_children":[1,3,`, `"left_children":[1,0,`, ErrDamaged, "node 0 is reached twice"},
		{"a shared node", `"left_children":[1,3,`, `"left_children":[1,4,`, ErrDamaged, "node 4 is reached twice"},
		{"a child out of range", `"left_children":[1,3,`, `"left_children":[1,7,`, ErrDamaged, "children 7"},
		{"an only child", `"right_children":[2,4,6,-1`, `"right_children":[2,4,6,1`, ErrDamaged, "right child only"},
		{"a lost node", `"left_children":[1,3,5,-1,-1,-1,-1],`, `"left_children":[1,-1,5,-1,-1,-1,-1],`, ErrDamaged, "right child only"},
		{"a wrong parent", `"parents":[2147483647,0,0,1,1,2,2]`, `"parents":[2147483647,0,0,1,1,2,1]`, ErrDamaged, "trees[0].parents[6]: node 6 is no child of its parent"},
		{"a feature out of range", `"split_indices":[0,`, `"split_indices":[6,`, ErrDamaged, "splits on feature 6 of 6"},
		{"an infinite threshold", `"split_conditions":[`, `"split_conditions":[Infinity,`, ErrDamaged, "8 entries"},
		{"a threshold beyond float32", `"split_conditions":[-2.3776813E-1`, `"split_conditions":[-2.3776813E99`, ErrDamaged, "not a float32"},
		{"a threshold of NaN", `"split_conditions":[-2.3776813E-1`, `"split_conditions":[NaN`, ErrDamaged, "split_conditions[0]: NaN is not finite"},
		{"a hexadecimal threshold", `"split_conditions":[-2.3776813E-1`, `"split_conditions":[-0x2`, ErrDamaged, ""},
		{"a default that is no flag", `"default_left":[0`, `"default_left":[2`, ErrDamaged, "neither 0 nor 1"},
		{"base score of 1", `"base_score":"[5.22E-1]"`, `"base_score":"[1E0]"`, ErrDamaged, "no probability"},
		{"base score of NaN", `"base_score":"[5.22E-1]"`, `"base_score":"[NaN]"`, ErrDamaged, "not a finite number"},
		{"two base scores", `"base_score":"[5.22E-1]"`, `"base_score":"[5E-1,5E-1]"`, ErrDamaged, "2 base scores for 1 outputs"},
		{"half a list", `"base_score":"[5.22E-1]"`, `"base_score":"[5.22E-1"`, ErrDamaged, "not a list"},
		{"features without end", `"num_feature":"6","num_target"`, `"num_feature":"2000000000","num_target"`, ErrDamaged, "6 types for 2000000000 features"},
		{"trailing bytes", `"version":[3,2,0]}`, `"version":[3,2,0]}{}`, ErrDamaged, "more follows"},
		{"deep nesting", `"attributes":{}`, `"attributes":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000), ErrDamaged, "nested more than"},
	} {
		c.run(t, "testdata/xgboost-3.2.0/named.json")
	}
	edit{"unnamed features without end", `"num_feature":"6","num_target"`, `"num_feature":"2000000000","num_target"`, ErrUnsupported, "without names"}.
		run(t, "testdata/xgboost-3.2.0/binary.json")
	edit{"a deleted node in the tree", `2147483647,2147483647,0,`, `0,2147483647,0,`, ErrDamaged, "not reached from the root"}.
		run(t, "testdata/xgboost-3.2.0/pruned.json")
	edit{"classes", `"softmax_multiclass_param":{"num_class":"4"}`, `"softmax_multiclass_param":{"num_class":"3"}`, ErrDamaged, "3 classes, the model 4"}.
		run(t, "testdata/xgboost-3.2.0/multiclass.json")
	edit{"class order", `"tree_info":[0,1,2,3`, `"tree_info":[1,0,2,3`, ErrDamaged, "tree 0 adds to output 1"}.
		run(t, "testdata/xgboost-3.2.0/multiclass.json")
}

func TestLightGBMWithConvertedLineEndsIsRefusedByName(t *testing.T) {
	good := string(read(t, "testdata/lightgbm-4.7.0/binary.txt"))
	_, err := Parse("loan.txt", []byte(strings.ReplaceAll(good, "\n", "\r\n")))
	if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(err.Error(), "loan.txt: line 1: lines end in CR LF") {
		t.Error(err)
	}
}

func TestUBJSONCountsAreBorneOutByBytes(t *testing.T) {
	for _, c := range []edit{
		{"count beyond the file", "[$l#L\x00\x00\x00\x00", "[$l#L\x00\x00\x7f\x00", ErrDamaged, "bytes follow"},
		{"negative count", "[$l#L\x00\x00", "[$l#L\xff\x00", ErrDamaged, "bytes follow"},
		{"elements without a size", "[$U#L", "[$Z#L", ErrDamaged, `an array typed 'Z'`},
		{"elements of containers", "[$U#L", "[$[#L", ErrDamaged, `an array typed '['`},
		{"integers for floats", "[$d#L", "[$l#L", ErrDamaged, "where a float32 belongs"},
		{"counted object", "learner{L", "learner{#L", ErrDamaged, "a counted object"},
	} {
		c.run(t, "testdata/xgboost-3.2.0/binary.ubj")
	}
}

func TestLightGBMFilesThatContradictThemselves(t *testing.T) {
	for _, c := range []edit{
		{"future version", "version=v4", "version=v5", ErrUnsupported, "v5"},
		{"unknown key of the header", "label_index=0", "label_index=0\nscore_scale=2", ErrUnsupported, `unknown key "score_scale"`},
		{"unknown key of a tree", "shrinkage=1\n", "shrinkage=1\nleaf_scale=2\n", ErrUnsupported, `unknown key "leaf_scale"`},
		{"unknown section", "end of trees\n", "end of trees\n\ncalibration:\n", ErrUnsupported, `unknown section "calibration:"`},
		{"linear tree", "is_linear=0", "is_linear=1", ErrUnsupported, "linear trees"},
		{"average", "label_index=0", "label_index=0\naverage_output", ErrUnsupported, "average_output"},
		{"no objective", "objective=binary sigmoid:1\n", "", ErrUnsupported, "without an objective"},
		{"sigmoid of 0", "sigmoid:1", "sigmoid:0", ErrDamaged, "not a positive number"},
		{"duplicate key", "label_index=0", "label_index=0\nlabel_index=0", ErrDamaged, "occurs twice"},
		{"classes", "num_class=1", "num_class=2", ErrDamaged, "2 classes"},
		{"trees an iteration", "num_tree_per_iteration=1", "num_tree_per_iteration=2", ErrDamaged, "2 trees an iteration"},
		{"features", "max_feature_idx=5", "max_feature_idx=2000000000", ErrDamaged, "has 6 entries"},
		{"names", "Column_0 Column_1", "Column_1 Column_1", ErrDamaged, "both named"},
		{"tree number", "Tree=1\n", "Tree=2\n", ErrDamaged, "where tree 1 belongs"},
		{"tree sizes", "tree_sizes=", "tree_sizes=1", ErrDamaged, "by tree_sizes"},
		{"leaves", "num_leaves=8", "num_leaves=9", ErrDamaged, "in a tree of 9 leaves"},
		{"many leaves", "num_leaves=8", "num_leaves=999999999", ErrDamaged, "in a tree of 999999999 leaves"},
		{"no leaves", "num_leaves=8", "num_leaves=0", ErrDamaged, "not an integer between"},
		{"a word that is no number", "leaf_value=", "leaf_value=x", ErrDamaged, "not a finite number"},
		{"infinite leaf", "leaf_value=-", "leaf_value=1e999", ErrDamaged, "not a finite number"},
		{"feature out of range", "split_feature=0", "split_feature=6", ErrDamaged, "between 0 and 5"},
		{"categorical split without sets", "decision_type=10", "decision_type=1", ErrDamaged, "not an integer between 0 and -1"},
		{"fourth kind of missing", "decision_type=10", "decision_type=12", ErrDamaged, "kind of missing"},
		{"decision out of range", "decision_type=10", "decision_type=16", ErrDamaged, "between 0 and 15"},
		{"a circle", "left_child=1", "left_child=0", ErrDamaged, "reached twice"},
		{"no end of trees", "end of trees", "", ErrUnsupported, `unknown key "feature_importances:"`},
		{"no end of parameters", "end of parameters", "", ErrDamaged, "is missing"},
	} {
		c.run(t, "testdata/lightgbm-4.7.0/binary.txt")
	}
	edit{"sets", "num_cat=4", "num_cat=3", ErrDamaged, "cat_boundaries has 5 entries"}.run(t, "testdata/lightgbm-4.7.0/categorical.txt")
	edit{"set boundaries", "cat_boundaries=0 3 6", "cat_boundaries=0 6 6", ErrDamaged, "between 7 and"}.run(t, "testdata/lightgbm-4.7.0/categorical.txt")
	edit{"words of sets", "cat_threshold=", "cat_threshold=1 ", ErrDamaged, "cat_threshold has"}.run(t, "testdata/lightgbm-4.7.0/categorical.txt")
}

func TestOtherFilesAreRefused(t *testing.T) {
	for content, kind := range map[string]error{
		"":                     ErrDamaged,
		" \n":                  ErrDamaged,
		"<PMML/>":              ErrUnsupported,
		"\x80\x04\x95":         ErrUnsupported,
		"[]":                   ErrUnsupported,
		"bs64\tAAAA":           ErrUnsupported,
		"{}":                   ErrDamaged,
		`{"name":"tree"}`:      ErrUnsupported,
		"tree\n":               ErrDamaged,
		"{\"learner\":\"\\q\"": ErrDamaged,
	} {
		if _, err := Parse("m", []byte(content)); !errors.Is(err, kind) {
			t.Errorf("%q: %v, want %v", content, err, kind)
		}
	}
}

func TestErrorNamesFileAndPosition(t *testing.T) {
	_, err := Parse("loan.txt", []byte("tree\nversion=v9\n\nTree=0\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "loan.txt: line ") {
		t.Errorf("%v", err)
	}
	_, err = Parse("loan.json", []byte(`{"learner":{},"version":[1,0,2],}`))
	if err == nil || !strings.HasPrefix(err.Error(), "loan.json: byte ") {
		t.Errorf("%v", err)
	}
}
