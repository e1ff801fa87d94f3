module github.com/dougong-io/dougong/bench

go 1.26.0

require (
	github.com/dougong-io/dougong v0.1.0
	github.com/yalue/onnxruntime_go v1.27.0
	golang.org/x/sys v0.49.0
)

replace (
	github.com/dougong-io/dougong => ../
	github.com/dougong-io/dougong/adapters => ../adapters
	github.com/dougong-io/dougong/kit => ../kit
)
