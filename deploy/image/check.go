package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxImage bounds what the image takes on a node, unpacked.
const maxImage = 60_000_000

// checkFile judges an image and the documents beside it, and prints what it is.
func checkFile(name string, stdout io.Writer) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	l, err := load(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b, err := l.judge()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	sbom, provenance := documentFiles(name)
	for beside, attached := range map[string][]byte{sbom: l.documents[mediaSPDX], provenance: l.documents[mediaInToto]} {
		found, err := os.ReadFile(beside)
		if err != nil {
			return err
		}
		if !bytes.Equal(found, attached) {
			return fmt.Errorf("%s is not what is attached to the image", beside)
		}
	}
	return l.describe(stdout, name, len(data), b)
}

// judge names all that the image must not be.
func (l *loaded) judge() (binary, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	cfg := l.config.Config
	if cfg.User != user {
		fault("user %q, must be %s", cfg.User, user)
	}
	if !slices.Equal(cfg.Entrypoint, entrypoint) || !slices.Equal(cfg.Cmd, arguments) {
		fault("starts %q with %q, must start %q with %q", cfg.Entrypoint, cfg.Cmd, entrypoint, arguments)
	}
	if !slices.Contains(cfg.Env, hardenedEnv) {
		fault("environment %q, must hold %s", cfg.Env, hardenedEnv)
	}
	if l.unpacked > maxImage {
		fault("takes %s, at most %s", megabytes(l.unpacked), megabytes(maxImage))
	}
	var program []byte
	for _, f := range l.files {
		switch h := f.head; {
		case h.Uid != 0 || h.Gid != 0:
			fault("/%s belongs to %d:%d, must belong to root", h.Name, h.Uid, h.Gid)
		case h.Mode&0o7222 != 0:
			fault("/%s has the mode %o: somebody may change it, or it changes who runs it", h.Name, h.Mode)
		case !h.ModTime.Equal(l.config.Created.Time):
			fault("/%s is of %v, must be of %v as the image is", h.Name, h.ModTime.UTC(), l.config.Created.UTC())
		case h.Typeflag == tar.TypeDir && strings.HasPrefix(certificateFile, h.Name), h.Typeflag == tar.TypeReg && h.Name == certificateFile:
		case h.Typeflag == tar.TypeReg && h.Name == binaryFile && program == nil:
			program = f.data
		default:
			fault("/%s has no place in the image", h.Name)
		}
	}
	b, err := parseBinary(program)
	if err != nil {
		fault("/%s: %w", binaryFile, err)
		return binary{}, errors.Join(faults...)
	}
	if got := l.config.OS + "/" + l.config.Architecture; got != b.platform() {
		fault("is for %s, and the binary for %s", got, b.platform())
	}
	if err := checkSBOM(l.documents[mediaSPDX], l.desc.Digest, b); err != nil {
		fault("SPDX: %w", err)
	}
	if err := checkProvenance(l.documents[mediaInToto], l.desc.Annotations[annotationName], l.desc.Digest, b); err != nil {
		fault("provenance: %w", err)
	}
	return b, errors.Join(faults...)
}

func (l *loaded) describe(w io.Writer, name string, size int, b binary) error {
	of := func(labelled string) string { return l.config.Config.Labels["org.opencontainers.image."+labelled] }
	commit := b.revision
	if b.modified {
		commit += " with changes"
	}
	_, err := fmt.Fprintf(w, `image       %s (%s/%s)
digest      %s
created     %s
commit      %s
size        %s unpacked (at most %s), %s packed; %s is %s
binary      sha256:%s, %s, %s, static
sbom        %s, %d modules
provenance  %s
`, l.desc.Annotations[annotationName], l.config.OS, l.config.Architecture, l.desc.Digest, of("created"), commit,
		megabytes(l.unpacked), megabytes(maxImage), megabytes(l.packed), name, megabytes(int64(size)),
		b.sha256, megabytes(int64(len(b.data))), b.info.GoVersion,
		l.sources[mediaSPDX].Digest, len(b.info.Deps), l.sources[mediaInToto].Digest)
	return err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// strictly decodes JSON that must have nothing but what the type knows.
func strictly(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if dec.More() {
		return errors.New("more after the end")
	}
	return nil
}

// checkSBOM holds a bill of materials against SPDX 2.3, the image and its binary.
func checkSBOM(data []byte, digest v1.Hash, b binary) error {
	var doc spdxDocument
	if err := strictly(data, &doc); err != nil {
		return err
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if doc.Version != "SPDX-2.3" || doc.DataLicense != "CC0-1.0" || doc.ID != spdxRoot || doc.Name == "" || !strings.Contains(doc.Namespace, "://") || strings.Contains(doc.Namespace, "#") {
		fault("its head is none of SPDX 2.3")
	}
	if _, err := time.Parse("2006-01-02T15:04:05Z", doc.Creation.Created); err != nil || len(doc.Creation.Creators) == 0 {
		fault("creationInfo: when or by whom is not said")
	}
	ids := map[string]spdxPackage{doc.ID: {}}
	for _, pkg := range doc.Packages {
		if _, twice := ids[pkg.ID]; twice || !strings.HasPrefix(pkg.ID, "SPDXRef-") || notForID.MatchString(pkg.ID) {
			fault("package %s: the identifier %q is not allowed, or taken", pkg.Name, pkg.ID)
		}
		ids[pkg.ID] = pkg
		if pkg.Name == "" || pkg.Download == "" || pkg.Concluded == "" || pkg.Declared == "" || pkg.Copyright == "" {
			fault("package %s: lacks what SPDX asks for", pkg.ID)
		}
		for _, sum := range pkg.Checksums {
			if sum.Algorithm != "SHA256" || !isSHA256(sum.Value) {
				fault("package %s: checksum %s %q", pkg.ID, sum.Algorithm, sum.Value)
			}
		}
	}
	related := map[string]bool{}
	for _, r := range doc.Relationships {
		for _, id := range []string{r.Element, r.Related} {
			if _, ok := ids[id]; !ok {
				fault("a relationship of %s, which is not there", id)
			}
		}
		related[r.Related] = true
	}
	for id := range ids {
		if id != doc.ID && !related[id] {
			fault("package %s is related to nothing", id)
		}
	}
	if !slices.Equal(ids[spdxImage].Checksums, []spdxChecksum{{"SHA256", digest.Hex}}) {
		fault("is about another image")
	}
	if !slices.Equal(ids[spdxBinary].Checksums, []spdxChecksum{{"SHA256", b.sha256}}) {
		fault("is about another binary")
	}
	for _, m := range b.info.Deps {
		if _, ok := ids[moduleID(m.Path)]; !ok {
			fault("lacks the module %s", m.Path)
		}
	}
	return errors.Join(faults...)
}

// checkProvenance holds a statement against in-toto v1, SLSA provenance v1, the image and its binary.
func checkProvenance(data []byte, ref string, digest v1.Hash, b binary) error {
	var doc statement
	if err := strictly(data, &doc); err != nil {
		return err
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if doc.Type != statementType || doc.PredicateType != provenanceType {
		fault("types %q and %q, must be %q and %q", doc.Type, doc.PredicateType, statementType, provenanceType)
	}
	subjects := map[string]string{}
	for _, s := range doc.Subject {
		subjects[s.Name] = s.Digest["sha256"]
	}
	if subjects[ref] != digest.Hex {
		fault("subject %s is sha256:%s, must be %s", ref, subjects[ref], digest)
	}
	if subjects["/"+binaryFile] != b.sha256 {
		fault("subject /%s is sha256:%s, must be sha256:%s", binaryFile, subjects["/"+binaryFile], b.sha256)
	}
	def := doc.Predicate.Definition
	if def.BuildType == "" || len(def.External) == 0 || doc.Predicate.Run.Builder.ID == "" {
		fault("lacks buildType, externalParameters or builder.id, which SLSA asks for")
	}
	if !slices.ContainsFunc(def.Dependencies, func(r resource) bool { return r.Digest["gitCommit"] == b.revision }) {
		fault("the commit %s is not among its dependencies", b.revision)
	}
	return errors.Join(faults...)
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
