package prom_test

import (
	"fmt"

	"github.com/dougong-io/dougong/adapters/prom"
)

func Example() {
	reg := prom.New()
	orders := reg.CounterVec(prom.Opts{Name: "dougong_order_placed_total", Help: "Orders placed.", Labels: []string{"channel"}})
	orders.WithLabelValues("app").Inc()
	for _, d := range reg.Descriptions() {
		fmt.Println(d.Name, d.Type, d.Labels, d.Help)
	}
	// Output: dougong_order_placed_total counter [channel] Orders placed.
}
