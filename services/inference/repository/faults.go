package repository

import "github.com/dougong-io/dougong/kit/fault"

// The points of loading.
var (
	pointList = fault.Def{
		Name: "inference.repository.list", Doc: "The folders of the model repository are listed.",
		Effects: fault.Call,
	}
	pointOpen = fault.Def{
		Name: "inference.repository.open", Doc: "A file of the model repository is opened.",
		Attrs: []string{"file"}, Effects: fault.Call,
	}
	pointRead = fault.Def{
		Name: "inference.repository.read", Doc: "A file of the model repository is read. What is dropped is an empty file.",
		Attrs: []string{"file"}, Effects: fault.Bytes,
	}
	pointGolden = fault.Def{
		Name: "inference.repository.golden", Doc: "A version that is being loaded scores its golden rows.",
		Attrs: []string{"model", "version"}, Effects: fault.Call,
	}
)

type points struct{ list, open, read, golden *fault.Point }

func newPoints(s *fault.Set) points {
	return points{list: s.Point(pointList), open: s.Point(pointOpen), read: s.Point(pointRead), golden: s.Point(pointGolden)}
}
