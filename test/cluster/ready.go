package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// callTime bounds each call to the API.
const callTime = 5 * time.Second

// lacks says what keeps the cluster from running a pod, or nil.
func (c *Cluster) lacks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the nodes: %w", err)
	}
	ready := 0
	for _, node := range nodes.Items {
		if isReady(node) {
			ready++
		}
	}
	if ready < c.config.Nodes {
		return fmt.Errorf("%d of %d nodes are ready", ready, c.config.Nodes)
	}
	if _, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return fmt.Errorf("pods have no account yet: %w", err)
	}
	return nil
}

func isReady(node corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0
		}
	}
	return false
}

const metricsPort = 4443

// metricsAPI leads what asks for metrics.k8s.io to metrics-server.
const metricsAPI = `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1beta1.metrics.k8s.io"},
"spec":{"service":{"name":"metrics-server","namespace":"kube-system"},"group":"metrics.k8s.io","version":"v1beta1",
"insecureSkipTLSVerify":true,"groupPriorityMinimum":100,"versionPriority":100}}`

// addMetrics makes metrics-server, a process beside the nodes, reachable as a service. It can be called again.
func (c *Cluster) addMetrics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	const name, namespace = "metrics-server", "kube-system"
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromInt32(metricsPort)}}},
	}
	port, portName, ready := int32(metricsPort), "https", true
	endpoints := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{apiAddress}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}
	_, err1 := c.client.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{})
	_, err2 := c.client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, endpoints, metav1.CreateOptions{})
	err3 := c.client.RESTClient().Post().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices").
		SetHeader("Content-Type", "application/json").Body([]byte(metricsAPI)).Do(ctx).Error()
	for _, err := range []error{err1, err2, err3} {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make metrics-server's service: %w", errors.Join(err1, err2, err3))
		}
	}
	return nil
}
