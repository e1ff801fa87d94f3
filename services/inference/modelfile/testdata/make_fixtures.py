"""Trains the fixture models with whichever of xgboost and lightgbm is installed.

    python make_fixtures.py OUT_DIR

writes OUT_DIR/<library>-<version>/<model>.{json,ubj,txt}, and beside each supported model
<model>.csv: one row a line, the features (an empty cell is NaN) and then the library's own
predictions p0, p1, … of the model as loaded back from the file. Everything is seeded; the data
is synthetic. make_fixtures.sh runs this under every version.
"""

import json
import os
import re
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")

ROWS = 500
FEATURES = 6
FLOAT32_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold


def data(seed, categories=0):
    """A matrix with missing cells, exact zeros and (in column 5) categories, and a score for each row."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, FEATURES))
    x[:, 1] = np.round(x[:, 1] * 4) / 4  # few values: thresholds are hit exactly, zero among them
    x[:, 2] = np.exp(x[:, 2] * 3)
    x[rng.random(ROWS) < 0.3, 3] = 0.0
    effect = np.zeros(ROWS)
    if categories:
        x[:, 5] = rng.integers(0, categories, ROWS)
        effect = rng.normal(size=categories)[x[:, 5].astype(int)] * 2
    missing = rng.random((ROWS, FEATURES)) < 0.12
    score = (
        1.5 * x[:, 0] - x[:, 1] * (x[:, 3] > 0) + 0.2 * np.log1p(x[:, 2]) + effect
        + missing[:, 4] + 0.3 * rng.normal(size=ROWS)
    )
    x[missing] = np.nan
    return x, score


def thresholds(splits, limit=16):
    """Up to limit (feature, threshold) pairs, spread over the model."""
    unique = sorted(set(splits))
    step = max(1, len(unique) // limit)
    return unique[::step][:limit]


def case_rows(x, splits, dtype, huge, extra):
    """Rows of the data, then rows in which one cell is an edge case."""
    rng = np.random.default_rng(99)
    rows = [x[i].astype(dtype) for i in range(24)]
    rows.append(np.full(FEATURES, np.nan, dtype))
    edges = [0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, FLOAT32_ZERO, -FLOAT32_ZERO, huge, -huge, 1e-40, -1e-40]
    rows += [np.full(FEATURES, edge, dtype) for edge in edges]
    for feature, threshold in thresholds(splits):
        t = dtype(threshold)
        for value in (t, np.nextafter(t, dtype(-np.inf)), np.nextafter(t, dtype(np.inf))):
            row = x[rng.integers(ROWS)].astype(dtype)
            row[feature] = value
            rows.append(row)
    for feature, value in extra:
        row = x[rng.integers(ROWS)].astype(dtype)
        row[feature] = value
        rows.append(row)
    return np.array(rows, dtype)


def write_cases(path, rows, predictions):
    predictions = predictions.reshape(len(rows), -1)
    digits = "%.9g" if rows.dtype == np.float32 else "%.17g"
    answer_digits = "%.9g" if predictions.dtype == np.float32 else "%.17g"
    with open(path, "w") as f:
        f.write(",".join([f"f{i}" for i in range(rows.shape[1])] + [f"p{i}" for i in range(predictions.shape[1])]) + "\n")
        for row, answer in zip(rows, predictions):
            cells = ["" if np.isnan(v) else digits % v for v in row] + [answer_digits % v for v in answer]
            f.write(",".join(cells) + "\n")


# ---------------------------------------------------------------- XGBoost


def xgboost_fixtures(out):
    import xgboost as xgb

    version = tuple(int(p) for p in xgb.__version__.split(".")[:2])
    out = os.path.join(out, "xgboost-" + xgb.__version__)
    os.makedirs(out, exist_ok=True)
    x, score = data(1)
    x = x.astype(np.float32)
    binary = (score > 0.3).astype(int)
    classes = np.digitize(score, [-1.5, 0, 1.5])

    def matrix(rows, label=None, **more):
        return xgb.DMatrix(rows, label, missing=np.nan, **more)

    def splits_of(path):
        found = []
        for tree in json.load(open(path))["learner"]["gradient_booster"]["model"]["trees"]:
            for left, feature, t in zip(tree["left_children"], tree["split_indices"], tree["split_conditions"]):
                if left >= 0:
                    found.append((feature, float(np.float32(t))))
        return found

    def supported(name, params, label, rounds, train_x=x, ubj=True, **more):
        booster = xgb.train({"seed": 7, "nthread": 1, "verbosity": 0, **params}, matrix(train_x, label, **more), rounds)
        path = os.path.join(out, name + ".json")
        booster.save_model(path)
        rows = case_rows(train_x, splits_of(path), np.float32, 3e38, [])
        loaded = xgb.Booster(model_file=path)
        loaded.set_param({"nthread": 1})
        predictions = loaded.predict(matrix(rows, **more))
        write_cases(os.path.join(out, name + ".csv"), rows, predictions)
        if ubj and version >= (1, 6):
            loaded.save_model(os.path.join(out, name + ".ubj"))

    hist = {"tree_method": "hist"}
    supported("binary", {"objective": "binary:logistic", "max_depth": 4, "eta": 0.3}, binary, 8)
    supported("regression", {"objective": "reg:squarederror", "max_depth": 3, **hist}, score + 40, 8)
    supported("multiclass", {"objective": "multi:softprob", "num_class": 4, "max_depth": 3}, classes, 4)
    supported("base-score", {"objective": "binary:logistic", "base_score": 0.0371, "max_depth": 2}, binary, 3)
    supported("single-leaf", {"objective": "binary:logistic", "min_child_weight": 1e9}, binary, 3)
    if version < (1, 2):
        return  # one old release suffices for the oldest form of the file
    supported("forest", {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.6, "max_depth": 3}, binary, 3)
    supported("forest-multiclass", {"objective": "multi:softprob", "num_class": 4, "num_parallel_tree": 2, "subsample": 0.6, "max_depth": 2}, classes, 2)
    supported("pruned", {"objective": "binary:logistic", "tree_method": "exact", "gamma": 2.0, "max_depth": 6}, binary, 3)
    supported("leaves-100", {"objective": "binary:logistic", "max_depth": 0, "max_leaves": 100, "grow_policy": "lossguide", "min_child_weight": 0, **hist}, binary, 1)
    supported("leaves-300", {"objective": "reg:squarederror", "max_depth": 0, "max_leaves": 300, "grow_policy": "lossguide", "min_child_weight": 0, "lambda": 0, **hist}, score, 1)
    tiny = x.copy()
    tiny[:, 0] *= 1e-36  # thresholds that are tiny, some of them denormal
    tiny[:, 2] *= 1e30
    supported("tiny-huge", {"objective": "binary:logistic", "tree_method": "exact", "max_depth": 4}, binary, 4, train_x=tiny)
    supported("named", {"objective": "binary:logistic", "max_depth": 2}, binary, 2,
              feature_names=["age", "größe", 'quoted "name"', "tab\there", "back\\slash", "斗拱"],
              feature_types=["float", "q", "float", "int", "float", "i"])

    def unsupported(name, params, label, extension="json", train_x=x, dataset=None):
        booster = xgb.train({"nthread": 1, "verbosity": 0, "max_depth": 2, **params}, dataset or matrix(train_x, label), 2)
        booster.save_model(os.path.join(out, "refused-" + name + "." + extension))

    unsupported("gblinear", {"booster": "gblinear", "objective": "binary:logistic"}, binary)
    unsupported("dart", {"booster": "dart", "objective": "binary:logistic", "rate_drop": 0.5}, binary)
    unsupported("dart", {"booster": "dart", "objective": "binary:logistic", "rate_drop": 0.5}, binary, "ubj")
    unsupported("objective-poisson", {"objective": "count:poisson"}, binary)
    unsupported("objective-softmax", {"objective": "multi:softmax", "num_class": 4}, classes)
    ranked = matrix(x, binary)
    ranked.set_group([50] * 10)
    unsupported("objective-rank", {"objective": "rank:pairwise"}, None, dataset=ranked)
    cat_x, cat_score = data(2, categories=6)
    categorical = xgb.DMatrix(cat_x, (cat_score > 0).astype(int), feature_types=["float"] * 5 + ["c"], enable_categorical=True)
    unsupported("categorical", {"objective": "binary:logistic", **hist}, None, dataset=categorical)
    unsupported("categorical", {"objective": "binary:logistic", **hist}, None, "ubj", dataset=categorical)
    unsupported("num-target", {"objective": "reg:squarederror", **hist}, np.stack([score, -score], 1))
    if version >= (2, 0):
        unsupported("multi-output-tree", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree", **hist}, np.stack([score, -score], 1))
        unsupported("multi-output-softprob", {"objective": "multi:softprob", "num_class": 4, "multi_strategy": "multi_output_tree", **hist}, classes)
    if version < (3, 1):
        unsupported("binary-format", {"objective": "binary:logistic"}, binary, "deprecated" if version >= (2, 1) else "model")


# ---------------------------------------------------------------- LightGBM


def lightgbm_fixtures(out):
    import lightgbm as lgb

    version = tuple(int(p) for p in lgb.__version__.split(".")[:2])
    out = os.path.join(out, "lightgbm-" + lgb.__version__)
    os.makedirs(out, exist_ok=True)
    x, score = data(1)
    binary = (score > 0.3).astype(int)
    classes = np.digitize(score, [-1.0, 1.0])

    def train(params, label, rounds, train_x, categorical):
        base = {"verbose": -1, "num_threads": 1, "seed": 7, "deterministic": True, "num_leaves": 8, "min_data_in_leaf": 5, "learning_rate": 0.3}
        dataset = lgb.Dataset(train_x, label, categorical_feature=categorical, free_raw_data=False)
        return lgb.train({**base, **params}, dataset, rounds)

    def splits_of(booster):
        found = []

        def walk(node):
            if "split_feature" in node:
                if node["decision_type"] == "<=":
                    found.append((node["split_feature"], node["threshold"]))
                walk(node["left_child"])
                walk(node["right_child"])

        for tree in booster.dump_model()["tree_info"]:
            walk(tree["tree_structure"])
        return found

    def thresholds_near_zero(text):
        """Puts thresholds inside ±1e-35 at the roots: the library takes such values of a row for 0."""
        head, *trees = re.split(r"(?m)^(?=Tree=|end of trees)", text)
        for i, threshold in enumerate(("0", "5e-36", "-5e-36", "-0.0", repr(FLOAT32_ZERO), repr(-FLOAT32_ZERO))):
            trees[i] = re.sub(r"(?m)^threshold=\S+", "threshold=" + threshold, trees[i])
        sizes = " ".join(str(len(t)) for t in trees[:-1])
        return re.sub(r"(?m)^tree_sizes=.*", "tree_sizes=" + sizes, head) + "".join(trees)

    odd_categories = [(5, v) for v in (np.nan, -1, -0.5, -7, 2.7, 0, 0.9, 999, 31, 32, 63, 64, 3e9, 1e20, -1e20, np.inf, -np.inf)]

    def supported(name, params, label, rounds, train_x=x, categorical=(), edit=None):
        path = os.path.join(out, name + ".txt")
        train(params, label, rounds, train_x, list(categorical)).save_model(path)
        if edit:
            text = edit(open(path).read())
            open(path, "w").write(text)
        loaded = lgb.Booster(model_file=path)
        rows = case_rows(train_x, splits_of(loaded), np.float64, 1e300, odd_categories if categorical else [(0, np.inf), (0, -np.inf)])
        write_cases(os.path.join(out, name + ".csv"), rows, loaded.predict(rows, num_threads=1))

    supported("binary", {"objective": "binary"}, binary, 8)
    supported("binary-sigmoid", {"objective": "binary", "sigmoid": 0.7}, binary, 5)
    supported("regression", {"objective": "regression"}, score + 40, 8)
    supported("multiclass", {"objective": "multiclass", "num_class": 3}, classes, 4)
    supported("zero-as-missing", {"objective": "binary", "zero_as_missing": True}, binary, 6)
    supported("no-missing", {"objective": "binary", "use_missing": False}, binary, 6)
    supported("single-leaf", {"objective": "binary", "min_data_in_leaf": 400}, binary, 3)
    supported("thresholds-near-zero", {"objective": "binary"}, binary, 6, edit=thresholds_near_zero)
    supported("dart", {"objective": "binary", "boosting": "dart", "drop_rate": 0.5, "skip_drop": 0.0}, binary, 6)
    supported("leaves-100", {"objective": "binary", "num_leaves": 100, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0}, binary, 2)
    supported("leaves-300", {"objective": "regression", "num_leaves": 300, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0}, score, 1)
    cat = {"min_data_per_group": 1, "cat_smooth": 0.1, "cat_l2": 0.1, "max_cat_threshold": 64}
    for name, categories, params in (
        ("categorical", 90, {}),
        ("categorical-few", 4, {"max_cat_to_onehot": 8}),
        ("categorical-no-missing", 12, {"use_missing": False}),
        ("categorical-zero-as-missing", 12, {"zero_as_missing": True}),
    ):
        cat_x, cat_score = data(2, categories)
        supported(name, {"objective": "binary", **cat, **params}, (cat_score > 0).astype(int), 5, train_x=cat_x, categorical=[5])

    if version >= (3, 0):  # older releases refuse today's data frames
        import pandas as pd

        cat_x, cat_score = data(3, 4)
        frame = pd.DataFrame(cat_x, columns=["a", "b", "c", "d", "e", "colour"])
        names = np.array(["red", "green", "blue", "black"])
        frame["colour"] = pd.Categorical([None if np.isnan(v) else names[int(v)] for v in cat_x[:, 5]])
        booster = train({"objective": "binary", **cat}, (cat_score > 0).astype(int), 4, frame, "auto")
        path = os.path.join(out, "pandas-categorical.txt")
        booster.save_model(path)
        coded = frame.copy()
        coded["colour"] = frame["colour"].cat.codes.replace(-1, np.nan)
        rows = np.vstack([coded.to_numpy(float)[:40], case_rows(cat_x, splits_of(booster), np.float64, 1e300, odd_categories)[24:]])
        # The library's matrix interface takes the codes, as this engine does; the frame's answers must be the same.
        loaded = lgb.Booster(model_file=path)
        by_code = loaded.predict(rows)
        assert np.array_equal(by_code[:40], loaded.predict(frame.iloc[:40]))
        write_cases(os.path.join(out, "pandas-categorical.csv"), rows, by_code)

    def unsupported(name, params, label, rounds=2):
        train({"num_leaves": 4, **params}, label, rounds, x, []).save_model(os.path.join(out, "refused-" + name + ".txt"))

    unsupported("random-forest", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, binary)
    unsupported("objective-poisson", {"objective": "poisson"}, np.exp(score / 4))
    unsupported("objective-l1", {"objective": "regression_l1"}, score)
    unsupported("objective-one-vs-all", {"objective": "multiclassova", "num_class": 3}, classes)
    unsupported("objective-cross-entropy", {"objective": "cross_entropy"}, binary)
    unsupported("square-root", {"objective": "regression", "reg_sqrt": True}, score + 40)
    if version >= (3, 2):
        unsupported("linear-tree", {"objective": "regression", "linear_tree": True}, score)


if __name__ == "__main__":
    for make in (xgboost_fixtures, lightgbm_fixtures):
        try:
            make(sys.argv[1])
        except ModuleNotFoundError as e:
            if e.name not in ("xgboost", "lightgbm"):
                raise
