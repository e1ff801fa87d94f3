package tree_test

import (
	"fmt"
	"log"
	"math"
	"os"

	"github.com/dougong-io/dougong/services/inference/modelfile"
	"github.com/dougong-io/dougong/services/inference/tree"
)

func Example() {
	data, err := os.ReadFile("../../../examples/models/loan-mini/1/model.json")
	if err != nil {
		log.Fatal(err)
	}
	ensemble, err := modelfile.Parse("loan.json", data)
	if err != nil {
		log.Fatal(err)
	}
	model, err := tree.Compile(ensemble)
	if err != nil {
		log.Fatal(err)
	}
	rows := []float64{0.1, 0.9, 0.25, math.NaN()} // two loans: interest rate, revolving utilisation
	answers := make([]float64, 2*model.Outputs())
	if err := model.Predict(answers, rows); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.4f\n", answers)
	// Output: [0.0365 0.1861]
}
