package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The parts of SPDX 2.3 (ISO/IEC 5962 and its successor) that are written here, in its JSON form.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	DataLicense   string             `json:"dataLicense"`
	ID            string             `json:"SPDXID"`
	Name          string             `json:"name"`
	Namespace     string             `json:"documentNamespace"`
	Creation      spdxCreation       `json:"creationInfo"`
	Packages      []spdxPackage      `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
}

type spdxCreation struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	ID        string          `json:"SPDXID"`
	Name      string          `json:"name"`
	Version   string          `json:"versionInfo,omitempty"`
	File      string          `json:"packageFileName,omitempty"`
	Supplier  string          `json:"supplier,omitempty"`
	Download  string          `json:"downloadLocation"`
	Analyzed  bool            `json:"filesAnalyzed"`
	Concluded string          `json:"licenseConcluded"`
	Declared  string          `json:"licenseDeclared"`
	Copyright string          `json:"copyrightText"`
	Purpose   string          `json:"primaryPackagePurpose,omitempty"`
	Checksums []spdxChecksum  `json:"checksums,omitempty"`
	Refs      []spdxReference `json:"externalRefs,omitempty"`
	Comment   string          `json:"comment,omitempty"`
}

type spdxChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type spdxReference struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type spdxRelationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	noAssertion = "NOASSERTION"
	spdxRoot    = "SPDXRef-DOCUMENT"
	spdxImage   = "SPDXRef-Image"
	spdxBinary  = "SPDXRef-Binary"
)

// sbom lists what is in the image: the binary, the modules that are compiled into it and Go itself, as the binary
// tells. What it does not tell, such as the licences of others, is not claimed.
func (p product) sbom(digest v1.Hash) ([]byte, error) {
	doc := spdxDocument{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: spdxRoot, Name: p.ref(),
		Namespace: repository + "/spdx/" + p.version + "/" + digest.Hex, // the same for the same image, and for no other
		Creation:  spdxCreation{p.created.Format(time.RFC3339), []string{"Organization: Dougong", "Tool: github.com/dougong-io/dougong/deploy/image-" + p.version}},
	}
	ours := spdxPackage{Supplier: "Organization: Dougong", Download: p.gitLocation(""), Concluded: "Apache-2.0", Declared: "Apache-2.0", Copyright: noAssertion}

	image := ours
	image.ID, image.Name, image.Version, image.Purpose, image.Download = spdxImage, p.name, p.version, "CONTAINER", noAssertion
	image.Concluded = noAssertion // that of all that is in it
	image.Checksums = []spdxChecksum{{"SHA256", digest.Hex}}
	image.Refs = []spdxReference{packageURL("pkg:oci/" + path.Base(p.name) + "@sha256%3A" + digest.Hex + "?repository_url=" + url.QueryEscape(p.name) + "&tag=" + url.QueryEscape(p.version))}
	image.Comment = "the checksum is the digest of the image's manifest"

	program, info := ours, p.binary.info
	program.ID, program.Name, program.Version, program.Purpose, program.File = spdxBinary, info.Main.Path, info.Main.Version, "APPLICATION", "/"+binaryFile
	program.Concluded = noAssertion
	program.Checksums = []spdxChecksum{{"SHA256", p.binary.sha256}}
	program.Refs = []spdxReference{packageURL(golangURL(info.Main.Path, info.Main.Version))}

	doc.Packages = []spdxPackage{image, program, goItself(info.GoVersion)}
	doc.Relationships = []spdxRelationship{
		{spdxRoot, "DESCRIBES", spdxImage},
		{spdxImage, "CONTAINS", spdxBinary},
		{spdxBinary, "DEPENDS_ON", doc.Packages[2].ID},
	}
	for _, m := range info.Deps {
		pkg, err := p.module(m)
		if err != nil {
			return nil, err
		}
		doc.Packages = append(doc.Packages, pkg)
		doc.Relationships = append(doc.Relationships, spdxRelationship{spdxBinary, "DEPENDS_ON", pkg.ID})
	}
	if p.certificates != nil {
		sum := sha256.Sum256(p.certificates)
		doc.Packages = append(doc.Packages, spdxPackage{
			ID: "SPDXRef-Certificates", Name: "ca-certificates", File: "/" + certificateFile, Download: noAssertion, Concluded: noAssertion, Declared: noAssertion,
			Copyright: noAssertion, Purpose: "FILE", Checksums: []spdxChecksum{{"SHA256", hex.EncodeToString(sum[:])}},
		})
		doc.Relationships = append(doc.Relationships, spdxRelationship{spdxImage, "CONTAINS", "SPDXRef-Certificates"})
	}
	return indented(doc)
}

func packageURL(locator string) spdxReference {
	return spdxReference{"PACKAGE-MANAGER", "purl", locator}
}

// golangURL is the package URL of a module. Its type has names in lower case.
func golangURL(module, version string) string {
	return "pkg:golang/" + strings.ToLower(module) + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
}

// gitLocation is the commit, or a folder of it.
func (p product) gitLocation(folder string) string {
	at := "git+" + repository + "@" + p.binary.revision
	if folder != "" {
		at += "#" + folder
	}
	return at
}

func goItself(version string) spdxPackage {
	pkg := spdxPackage{
		ID: "SPDXRef-Go", Name: "stdlib", Version: version, Supplier: "Organization: The Go Authors", Download: noAssertion,
		Concluded: noAssertion, Declared: "BSD-3-Clause", Copyright: noAssertion, Purpose: "LIBRARY",
		Comment: "the standard library and the runtime",
	}
	if number, ok := strings.CutPrefix(version, "go"); ok && !strings.Contains(number, " ") {
		pkg.Version, pkg.Download = number, "https://go.dev/dl/"+version+".src.tar.gz"
		pkg.Refs = []spdxReference{packageURL(golangURL("stdlib", number))}
	}
	return pkg
}

// module is one that is compiled in. What replaces it is what is described.
func (p product) module(m *debug.Module) (spdxPackage, error) {
	pkg := spdxPackage{Supplier: noAssertion, Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion, Purpose: "LIBRARY"}
	used := *m
	if m.Replace != nil {
		used = *m.Replace
		pkg.Comment = fmt.Sprintf("replaces %s %s. ", m.Path, m.Version)
	}
	if strings.HasPrefix(used.Path, "./") { // another module of the repository, at the same commit
		folder := path.Clean(used.Path)
		used = debug.Module{Path: m.Path, Version: p.binary.info.Main.Version}
		pkg.Supplier, pkg.Declared, pkg.Download = "Organization: Dougong", "Apache-2.0", p.gitLocation(folder)
		pkg.Comment = "of the same commit"
	} else {
		pkg.Download = "https://proxy.golang.org/" + escapeModule(used.Path) + "/@v/" + escapeModule(used.Version) + ".zip"
		sum, err := dirHash(used)
		if err != nil {
			return spdxPackage{}, err
		}
		pkg.Checksums = []spdxChecksum{{"SHA256", sum}}
		pkg.Comment += "the checksum is Go's " + used.Sum + " in hexadecimal: of the list of the module's files with their hashes, not of the archive"
	}
	pkg.Name, pkg.Version = used.Path, used.Version
	pkg.ID = moduleID(m.Path)
	pkg.Refs = []spdxReference{packageURL(golangURL(used.Path, used.Version))}
	return pkg, nil
}

// dirHash is a module's checksum (h1:) in hexadecimal.
func dirHash(m debug.Module) (string, error) {
	encoded, ok := strings.CutPrefix(m.Sum, "h1:")
	sum, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(sum) != sha256.Size {
		return "", fmt.Errorf("module %s %s: checksum %q is none of go.sum: build without a vendor folder, and replace modules by folders of the repository alone", m.Path, m.Version, m.Sum)
	}
	return hex.EncodeToString(sum), nil
}

var notForID = regexp.MustCompile(`[^A-Za-z0-9.-]`)

// moduleID is a name that SPDX allows. The end of a hash keeps those apart that differ in other letters alone.
func moduleID(module string) string {
	sum := sha256.Sum256([]byte(module))
	return "SPDXRef-Module-" + notForID.ReplaceAllString(module, "-") + "-" + hex.EncodeToString(sum[:4])
}

// escapeModule writes capitals as the module proxy wants them: an exclamation mark and the small letter.
func escapeModule(s string) string {
	var b strings.Builder
	for _, r := range s {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('!')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// indented is JSON for people, too.
func indented(doc any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(doc)
	return b.Bytes(), err
}
