package oip_test

import (
	"errors"
	"fmt"

	"github.com/dougong-io/dougong/services/inference/oip"
)

// loan is a model of two features.
var loan = &oip.Signature{
	Model: "loan", Version: "1", Outputs: 1, Datatype: oip.FP32,
	Features: []string{"income", "debt"},
	Column: func(name string) (int, bool) {
		column, ok := map[string]int{"income": 0, "debt": 1}[name]
		return column, ok
	},
}

func Example() {
	body := []byte(`{"id":"7","inputs":[{"name":"input","shape":[2,2],"datatype":"FP32","data":[[50,10],[20,null]]}]}`)
	var r oip.Request
	err := r.ParseJSON(body, -1, oip.Limits{MaxRows: 100, MaxInputs: 10})
	if err == nil {
		err = r.Bind(loan)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Rows())
	answer, _ := r.AppendJSON(nil, loan, []float64{0.25, 0.5})
	fmt.Printf("%s", answer)
	// Output:
	// [50 10 20 NaN] 2
	// {"model_name":"loan","model_version":"1","id":"7","outputs":[{"name":"output","datatype":"FP32","shape":[2,1],"data":[0.25,0.5]}]}
}

// A column each, and a limit that is passed.
func ExampleRequest_Bind() {
	var r oip.Request
	limits := oip.Limits{MaxRows: 2, MaxInputs: 10}
	err := r.ParseJSON([]byte(`{"inputs":[
		{"name":"debt","shape":[2],"datatype":"INT32","data":[10,20]},
		{"name":"income","shape":[2,1],"datatype":"FP64","data":[0.5,1.5]}]}`), -1, limits)
	if err == nil {
		err = r.Bind(loan)
	}
	values, rows := r.Rows()
	fmt.Println(values, rows, err)

	err = r.ParseJSON([]byte(`{"inputs":[{"name":"input","shape":[3,2],"datatype":"FP32","data":[1,2,3,4,5,6]}]}`), -1, limits)
	fmt.Println(err, errors.Is(err, oip.TooManyRows))
	// Output:
	// [0.5 10 1.5 20] 2 <nil>
	// more than 2 rows; send them in several requests true
}
