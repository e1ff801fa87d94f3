package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Build runs kustomize on a folder, under the restrictions of `kubectl apply -k`, and decodes what comes out like [Decode].
func Build(dir string) ([]runtime.Object, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", dir, err)
	}
	documents, err := resources.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", dir, err)
	}
	objects, err := Decode(documents)
	if err != nil {
		return nil, fmt.Errorf("kustomize %s: %w", dir, err)
	}
	return objects, nil
}

// Decode turns YAML documents into objects of the Kubernetes API, in their order. A kind that Kubernetes itself does not have, a
// field that its kind does not have and one that is there twice are errors; the faults of all documents are reported at once.
func Decode(documents []byte) ([]runtime.Object, error) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(documents)))
	var objects []runtime.Object
	var faults []error
	for n := 1; ; n++ {
		document, err := reader.Read()
		if err == io.EOF {
			return objects, errors.Join(faults...)
		}
		if err != nil {
			return nil, errors.Join(append(faults, fmt.Errorf("document %d: %w", n, err))...)
		}
		object, _, err := strict.Decode(document, nil, nil)
		if err != nil {
			faults = append(faults, fmt.Errorf("document %d: %w", n, err))
			continue
		}
		objects = append(objects, object)
	}
}
