package tree

// Precision is the arithmetic in which a library compares, adds and answers.
// A score is only equal to the library's if it is computed in the same one.
type Precision uint8

const (
	// Float32 rounds every feature to float32 before comparing and adds leaves in float32 (XGBoost).
	Float32 Precision = iota
	// Float64 compares and adds in float64 (LightGBM).
	Float64
)

// Transform turns the sums of the leaves (margins) into the answer.
type Transform uint8

const (
	// Identity answers the margin (regression).
	Identity Transform = iota
	// Sigmoid answers 1/(1+exp(-SigmoidScale·margin)) (binary classification).
	Sigmoid
	// Softmax answers exp(margin) normalised over the outputs of a row (classification).
	Softmax
)

// Split says how an inner node sends a value to its children.
type Split uint8

const (
	// Leaf is not a split: Node.Value is added to the output.
	Leaf Split = iota
	// Less sends x < Threshold to the left (XGBoost).
	Less
	// LessEqual sends x <= Threshold to the left (LightGBM).
	LessEqual
	// Category sends a value whose integer part is in Node.Categories to the left, and
	// everything else, NaN and values of -1 and below among it, to the right (LightGBM).
	Category
)

// Missing says which values take a numeric node's default direction.
type Missing uint8

const (
	// MissingNaN sends NaN in the default direction.
	MissingNaN Missing = iota
	// MissingZero sends NaN and |x| <= float32(1e-35) in the default direction (LightGBM's zero_as_missing).
	MissingZero
	// MissingNone has no default direction: NaN is compared as 0 (LightGBM).
	MissingNone
)

// Node is one node of a tree; children are indices into Tree.Nodes.
type Node struct {
	Split       Split
	Missing     Missing
	DefaultLeft bool
	Feature     int32    // column of the row, inner nodes only
	Left, Right int32    // inner nodes only
	Threshold   float64  // Less and LessEqual; exactly a float32 in a Float32 ensemble
	Value       float64  // leaves: what the leaf adds
	Gain        float64  // inner nodes: the loss reduction the library recorded, for importances
	Categories  []uint32 // Category: bit c%32 of word c/32 is set for each category c that goes left
}

// Tree is one tree; Nodes[0] is its root.
type Tree struct {
	Output int // the output, in 0…Ensemble.Outputs-1, that its leaves are added to
	Nodes  []Node
}

// Ensemble is a model as its file states it, in no library's format.
// Readers build it (package modelfile), Compile makes it fast.
type Ensemble struct {
	Format       string // "xgboost-json", "xgboost-ubj" or "lightgbm-text"
	Library      string // version of the library that wrote the file, "" if it does not say
	Objective    string // as the library names it: "binary:logistic"
	Precision    Precision
	Transform    Transform
	SigmoidScale float64   // 1 unless LightGBM's sigmoid parameter says otherwise
	Features     []string  // names in order; a reader makes up "f0", "f1", … for a file without names
	Named        bool      // whether the file itself names the features
	Outputs      int       // values a row is answered with: 1, or the number of classes
	Base         []float64 // added to each output before the trees, as a margin; Outputs long
	Trees        []Tree    // in the order in which the library adds them
}
