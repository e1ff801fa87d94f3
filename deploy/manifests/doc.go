// Package manifests builds what lies in deploy/base and deploy/overlays and judges it: by the types of the Kubernetes API, in
// which an unknown field is an error, and by a real API server. Its tests hold the manifests against the program that they
// start.
//
// It is not for applying them: `kubectl apply -k` does that. It is a module of its own, so that nobody who uses Dougong compiles
// Kubernetes.
//
//	objects, err := manifests.Build("../overlays/production")
//	for _, object := range objects {
//		fmt.Println(object.GetObjectKind().GroupVersionKind().Kind)
//	}
//	err = manifests.CheckOnServer(ctx, cluster, objects)
package manifests
