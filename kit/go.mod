module github.com/dougong-io/dougong/kit

go 1.26
