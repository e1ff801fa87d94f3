// oneDAL's gradient boosted trees on one thread. Argument: the model as the driver flattens it (see
// ../flatten.go), since oneDAL reads no library's format. Its regression answers margins; the
// logistic function is added here.
#include <cmath>
#include <vector>
#include "daal.h"
#include "harness.h"

using namespace daal;
using namespace daal::algorithms;
namespace gbt_regression = daal::algorithms::gbt::regression;

static gbt_regression::ModelPtr model;
static const float *all;
static int width;

struct Node {
  int feature, default_left, left, right;
  float value;  // threshold or leaf
};

static void add(gbt_regression::ModelBuilder &b, size_t tree, const std::vector<Node> &nodes, int i, size_t parent, int side) {
  const Node &n = nodes[i];
  if (n.feature < 0) {
    b.addLeafNode(tree, parent, side, n.value, 1);
    return;
  }
  // oneDAL sends x <= value to the left, XGBoost x < value.
  size_t at = b.addSplitNode(tree, parent, side, n.feature, std::nextafter(n.value, -INFINITY), n.default_left, 1);
  add(b, tree, nodes, n.left, at, 0);
  add(b, tree, nodes, n.right, at, 1);
}

void engine_open(int argc, char **argv, const float *rows, int, int features) {
  FILE *f = argc == 1 ? fopen(argv[0], "r") : NULL;
  int trees, size;
  if (!f || fscanf(f, "%d", &trees) != 1) fail("onedal", "wants a flattened model");
  services::Environment::getInstance()->setNumberOfThreads(1);
  gbt_regression::ModelBuilder b(features, trees);
  for (int t = 0; t < trees; t++) {
    if (fscanf(f, "%d", &size) != 1) fail(argv[0], "too short");
    std::vector<Node> nodes(size);
    for (Node &n : nodes)
      if (fscanf(f, "%d %d %d %d %f", &n.feature, &n.default_left, &n.left, &n.right, &n.value) != 5)
        fail(argv[0], "too short");
    add(b, b.createTree(size), nodes, 0, gbt_regression::ModelBuilder::noParent, 0);
  }
  model = b.getModel();
  all = rows;
  width = features;
}

void engine_prepare(int) {}

void engine_score(int at, int batch, float *out) {
  auto table = data_management::HomogenNumericTable<float>::create(const_cast<float *>(all) + (size_t)at * width, width, batch);
  gbt_regression::prediction::Batch<float> algorithm;
  algorithm.input.set(gbt_regression::prediction::data, table);
  algorithm.input.set(gbt_regression::prediction::model, model);
  services::Status status = algorithm.compute();
  if (!status.ok()) fail("onedal", status.getDescription());
  auto answers = algorithm.getResult()->get(gbt_regression::prediction::prediction);
  data_management::BlockDescriptor<float> block;
  answers->getBlockOfRows(0, batch, data_management::readOnly, block);
  for (int i = 0; i < batch; i++) out[i] = 1 / (1 + expf(-block.getBlockPtr()[i]));
  answers->releaseBlockOfRows(block);
}
