package manifests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// fieldOwner is who applies, in the words of server-side apply.
const fieldOwner = "dougong-manifests"

// CheckOnServer has an API server judge objects of one namespace: their schema with every field, its admission, and Pod Security for
// the pods that Deployments would start. Nothing is kept: a namespace of its own, with the labels of the one among the objects, holds
// their service accounts while the rest is asked for as a dry run, and is deleted before CheckOnServer returns. A warning of the
// server is a fault like a refusal; all are reported at once. ctx bounds it.
func CheckOnServer(ctx context.Context, cluster *rest.Config, objects []runtime.Object) (err error) {
	heard := &warnings{}
	cluster = rest.CopyConfig(cluster)
	cluster.WarningHandler = heard
	s, err := newServer(cluster)
	if err != nil {
		return err
	}
	namespace, err := s.makeNamespace(ctx, objects)
	if err != nil {
		return err
	}
	defer func() {
		// Also when ctx has ended: what we made must not stay.
		err = errors.Join(err, s.deleteNamespace(context.WithoutCancel(ctx), namespace))
	}()

	// Accounts first: a pod is refused while its account is not there.
	ordered := slices.Clone(objects)
	slices.SortStableFunc(ordered, func(a, b runtime.Object) int { return rank(a) - rank(b) })
	var faults []error
	for _, object := range ordered {
		if _, ok := object.(*corev1.Namespace); ok {
			continue
		}
		faults = append(faults, s.apply(ctx, namespace, object))
		if d, ok := object.(*appsv1.Deployment); ok {
			faults = append(faults, s.apply(ctx, namespace, podOf(d)))
		}
	}
	return errors.Join(append(faults, heard.faults()...)...)
}

func rank(object runtime.Object) int {
	if _, ok := object.(*corev1.ServiceAccount); ok {
		return 0
	}
	return 1
}

// podOf is a pod as the Deployment would have it started.
func podOf(d *appsv1.Deployment) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	pod.Name = d.Name
	return pod
}

type server struct {
	client dynamic.Interface
	mapper meta.RESTMapper
}

func newServer(cluster *rest.Config) (*server, error) {
	client, err := dynamic.NewForConfig(cluster)
	if err != nil {
		return nil, err
	}
	finder, err := discovery.NewDiscoveryClientForConfig(cluster)
	if err != nil {
		return nil, err
	}
	groups, err := restmapper.GetAPIGroupResources(finder)
	if err != nil {
		return nil, fmt.Errorf("what the API server %s has: %w", cluster.Host, err)
	}
	return &server{client, restmapper.NewDiscoveryRESTMapper(groups)}, nil
}

var namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")

// makeNamespace makes one with the labels of the one among the objects, so that the same Pod Security is in force.
func (s *server) makeNamespace(ctx context.Context, objects []runtime.Object) (string, error) {
	made := &unstructured.Unstructured{}
	made.SetAPIVersion("v1")
	made.SetKind("Namespace")
	made.SetGenerateName("dougong-check-")
	for _, object := range objects {
		if n, ok := object.(*corev1.Namespace); ok {
			made.SetLabels(n.Labels)
		}
	}
	made, err := s.client.Resource(namespaces).Create(ctx, made, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("namespace to try them in: %w", err)
	}
	return made.GetName(), nil
}

func (s *server) deleteNamespace(ctx context.Context, name string) error {
	if err := s.client.Resource(namespaces).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("namespace %s is left behind: %w", name, err)
	}
	return nil
}

// apply asks for an object in the namespace: an account really, anything else as a dry run.
func (s *server) apply(ctx context.Context, namespace string, object runtime.Object) error {
	wanted, err := toUnstructured(object)
	if err != nil {
		return err
	}
	kind := wanted.GroupVersionKind()
	fault := func(err error) error { return fmt.Errorf("%s %s: %w", kind.Kind, wanted.GetName(), err) }
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fault(err)
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return fault(errors.New("is not of a namespace; CheckOnServer would change the cluster"))
	}
	wanted.SetNamespace(namespace)
	data, err := json.Marshal(wanted)
	if err != nil {
		return fault(err)
	}
	force := true
	opts := metav1.PatchOptions{FieldManager: fieldOwner, Force: &force, FieldValidation: metav1.FieldValidationStrict}
	if _, ok := object.(*corev1.ServiceAccount); !ok {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	if _, err := s.client.Resource(mapping.Resource).Namespace(namespace).Patch(ctx, wanted.GetName(), types.ApplyPatchType, data, opts); err != nil {
		return fault(err)
	}
	return nil
}

// toUnstructured leaves out the status and the empty fields that only the Go types have.
func toUnstructured(object runtime.Object) (*unstructured.Unstructured, error) {
	kinds, _, err := scheme.Scheme.ObjectKinds(object)
	if err != nil {
		return nil, err
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: fields}
	u.SetGroupVersionKind(kinds[0])
	delete(u.Object, "status")
	return u, nil
}

// warnings gathers what the server warns of. It is safe for concurrent use.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(code int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if code == 299 && text != "" && !slices.Contains(w.texts, text) {
		w.texts = append(w.texts, text)
	}
}

func (w *warnings) faults() (errs []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.texts {
		errs = append(errs, errors.New("the API server warns: "+text))
	}
	return errs
}
