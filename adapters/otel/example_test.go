package otel_test

import (
	"context"
	"fmt"

	"github.com/dougong-io/dougong/adapters/otel"
	"github.com/dougong-io/dougong/kit/limit"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func Example() {
	reader := sdk.NewManualReader() // an exporter in real life
	limits, err := otel.NewLimits(sdk.NewMeterProvider(sdk.WithReader(reader)))
	if err != nil {
		fmt.Println(err)
		return
	}
	scoring, err := limit.New(limit.DefaultConfig(), limit.WithObserver(limits.Observer("scoring")))
	if err != nil {
		fmt.Println(err)
		return
	}
	permit, err := scoring.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer permit.Done()

	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		fmt.Println(err)
	}
	first := data.ScopeMetrics[0].Metrics[0]
	fmt.Println(first.Name, first.Unit, first.Data.(metricdata.Sum[int64]).DataPoints[0].Value)
	// Output: dougong.limit.admitted {request} 1
}
