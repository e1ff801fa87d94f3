package modelfile

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// smallest returns one small fixture of each format.
func smallest(t testing.TB) []string {
	t.Helper()
	best := map[string]string{}
	for _, path := range fixtures(t, false) {
		ext := filepath.Ext(path)
		if filepath.Base(path) == "base-score"+ext || filepath.Base(path) == "categorical-few.txt" {
			best[ext] = path
		}
	}
	if len(best) != 3 {
		t.Fatalf("fixtures: %v", best)
	}
	return []string{best[".json"], best[".ubj"], best[".txt"]}
}

// judge parses a damaged file: it must be refused, or be a well-formed ensemble all the same.
func judge(name string, data []byte) error {
	e, err := Parse(name, data)
	if err != nil {
		var typed *Error
		if !errors.As(err, &typed) || typed.File != name || typed.Offset < 0 || typed.Offset > len(data) || typed.Msg == "" {
			return fmt.Errorf("%#v is no *Error with a file and a position in it", err)
		}
		if errors.Is(err, ErrDamaged) == errors.Is(err, ErrUnsupported) {
			return fmt.Errorf("%v matches both sentinels or none", err)
		}
		return nil
	}
	return wellFormed(e)
}

func TestTruncatedFilesAreRefused(t *testing.T) {
	for _, path := range smallest(t) {
		data := read(t, path)
		whole := len(data)
		if filepath.Ext(path) == ".txt" {
			// After the parameters only lines follow that no score needs.
			whole = bytes.Index(data, []byte("end of parameters"))
		}
		for n := range whole {
			if err := judge(path, data[:n]); err != nil {
				t.Fatalf("%s cut to %d bytes: %v", path, n, err)
			}
			_, err := Parse(path, data[:n])
			if err == nil && !strings.HasPrefix(string(data[n:]), "\n") && !afterTrees(data[:n]) {
				t.Fatalf("%s cut to %d of %d bytes is accepted", path, n, len(data))
			}
		}
	}
}

// afterTrees says whether a cut LightGBM file still holds all trees and ends between two sections.
func afterTrees(data []byte) bool {
	return bytes.Contains(data, []byte("\nfeature_importances:")) && !bytes.Contains(data, []byte("\nparameters:"))
}

func TestFlippedBitsNeverPanic(t *testing.T) {
	for _, path := range smallest(t) {
		data := bytes.Clone(read(t, path))
		most := len(data)
		if n := bytes.Index(data, []byte("\nparameters:")); n > 0 {
			most = n + 40 // the parameters are all alike, and skipped
		}
		for i := range most {
			for bit := range 8 {
				data[i] ^= 1 << bit
				if err := judge(path, data); err != nil {
					t.Fatalf("%s with bit %d of byte %d flipped: %v", path, bit, i, err)
				}
				data[i] ^= 1 << bit
			}
		}
	}
}

// allocated returns the bytes that parsing allocates in total, a bound on what it holds at once.
func allocated(name string, data []byte) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = Parse(name, data)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestMemoryStaysBelowTenTimesTheFile(t *testing.T) {
	const slack = 2048 // for the error and for small files
	largest := 0.0
	check := func(what string, data []byte) {
		t.Helper()
		used := allocated("m", data)
		if used > 10*uint64(len(data))+slack {
			t.Errorf("%s: %d bytes allocated for a file of %d", what, used, len(data))
		}
		if len(data) > 4*slack {
			largest = max(largest, float64(used)/float64(len(data)))
		}
	}
	for _, refused := range []bool{false, true} {
		for _, path := range fixtures(t, refused) {
			check(path, read(t, path))
		}
	}
	for _, path := range smallest(t) {
		data := bytes.Clone(read(t, path))
		for i := 0; i < len(data); i += 7 {
			check(fmt.Sprintf("%s cut to %d bytes", path, i), data[:i])
			data[i] ^= 1 << (i % 8)
			check(fmt.Sprintf("%s with byte %d changed", path, i), data)
			data[i] ^= 1 << (i % 8)
		}
	}
	t.Logf("largest ratio of a real file %.2f", largest)

	// Files made to ask for much.
	const n = 50_000
	array := func(element string) string { return strings.TrimSuffix(strings.Repeat(element+",", n), ",") }
	columnsText := ""
	for i := range columns {
		columnsText += `"` + columnName(i) + `":[` + array("0") + `],`
	}
	good := string(read(t, "testdata/xgboost-3.2.0/binary.json"))
	head := `{"learner":{"learner_model_param":{"base_score":"0.5","num_class":"0","num_feature":"9"},"objective":{"name":"binary:logistic"},`
	for name, file := range map[string]string{
		"nodes":      head + `"gradient_booster":{"name":"gbtree","model":{"gbtree_model_param":{"num_trees":"1"},"tree_info":[0],"trees":[{` + columnsText + fmt.Sprintf(`"id":0,"tree_param":{"num_nodes":"%d"}}]}}},"version":[1,7,6]}`, n),
		"attributes": strings.Replace(good, `"attributes":{}`, `"attributes":{`+array(`"":""`)+`}`, 1),
		"names":      strings.Replace(strings.Replace(good, `"feature_names":[]`, `"feature_names":[`+array(`"a"`)+`]`, 1), `"num_feature":"6","num_target"`, fmt.Sprintf(`"num_feature":"%d","num_target"`, n), 1),
		"escapes":    strings.Replace(good, `"feature_names":[]`, `"feature_names":["`+strings.Repeat(`\n`, n)+`","a","b","a","d","e"]`, 1),
		"objects":    strings.Replace(good, `"attributes":{}`, `"attributes":{"a":[`+array("{}")+`]}`, 1),
		"keys":       strings.Replace(good, `"attributes":{}`, `"attributes":{"a":{`+array(`"\u00e9":0`)+`}}`, 1),
		"features": "tree\nversion=v4\nnum_class=1\nmax_feature_idx=" + fmt.Sprint(n-1) + "\nobjective=regression\nfeature_names=" +
			strings.TrimSuffix(strings.Repeat("a ", n), " ") + "\nfeature_infos=" + strings.TrimSuffix(strings.Repeat("a ", n), " ") + "\nTree=0\n",
		"leaves": strings.ReplaceAll("tree\nversion=v4\nnum_class=1\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\nfeature_infos=a\n\nTree=0\nnum_leaves="+fmt.Sprint(n)+
			"\nnum_cat=0\nsplit_feature=@\nsplit_gain=@\nthreshold=@\ndecision_type=@\nleft_child=@\nright_child=@\ninternal_value=@\ninternal_count=@\nleaf_value=@ 0\nleaf_count=@ 0\n\nend of trees\n",
			"@", strings.TrimSuffix(strings.Repeat("0 ", n-1), " ")),
		"category sets": "tree\nversion=v4\nnum_class=1\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\nfeature_infos=a\n\nTree=0\nnum_leaves=1\nnum_cat=" + fmt.Sprint(n) +
			"\nsplit_feature=\nsplit_gain=\nthreshold=\ndecision_type=\nleft_child=\nright_child=\ninternal_value=\ninternal_count=\nleaf_value=0\nleaf_count=\ncat_boundaries=0" +
			strings.Repeat(" 0", n) + "\ncat_threshold=0" + strings.Repeat(" 0", n) + "\n\nend of trees\n",
	} {
		_, err := Parse(name, []byte(file))
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		used := allocated(name, []byte(file))
		t.Logf("%s: %.2f times the file, %.90v", name, float64(used)/float64(len(file)), err)
		if used > 10*uint64(len(file)) {
			t.Errorf("%s: %d bytes allocated for a file of %d", name, used, len(file))
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, path := range []string{"testdata/xgboost-3.2.0/leaves-300.json", "testdata/xgboost-3.2.0/leaves-300.ubj", "testdata/lightgbm-4.7.0/leaves-300.txt"} {
		data := read(b, path)
		b.Run(filepath.Ext(path), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(path, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
