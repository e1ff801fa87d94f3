package modelfile

import (
	"bytes"
	"path/filepath"
	"testing"
)

// fuzz seeds with the small fixtures of one format and lets no input pass that judge objects to.
func fuzz(f *testing.F, ext string, begins func([]byte) bool) {
	for _, refused := range []bool{false, true} {
		for _, path := range fixtures(f, refused) {
			if data := read(f, path); filepath.Ext(path) == ext && len(data) < 5000 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !begins(data) {
			t.Skip("another format")
		}
		if err := judge("fuzz", data); err != nil {
			t.Fatal(err)
		}
		if used := allocated("fuzz", data); used > 10*uint64(len(data))+64<<10 { // the fuzzer allocates meanwhile
			t.Fatalf("%d bytes allocated for a file of %d", used, len(data))
		}
	})
}

func FuzzXGBoostJSON(f *testing.F) {
	fuzz(f, ".json", func(data []byte) bool { return !startsUBJSON(data) && !bytes.HasPrefix(data, []byte("tree")) })
}

func FuzzXGBoostUBJ(f *testing.F) { fuzz(f, ".ubj", startsUBJSON) }

func FuzzLightGBM(f *testing.F) {
	fuzz(f, ".txt", func(data []byte) bool { return bytes.HasPrefix(data, []byte("tree")) })
}

func startsUBJSON(data []byte) bool {
	return len(data) > 1 && data[0] == '{' && isLengthMarker(data[1])
}
