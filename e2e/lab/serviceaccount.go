package lab

import (
	"context"
	"fmt"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenSeconds is how long a service account's token is good for.
const tokenSeconds = 24 * 60 * 60

// ServiceAccountKubeconfig writes a kubeconfig for a program that runs outside
// a Pod and yet as a service account, and returns its file. With a node the
// token is bound to it and says so, as a Pod's does: rules that hold a program
// to its node's name can be tested with it. The service account must exist.
func (l *Lab) ServiceAccountKubeconfig(ctx context.Context, namespace, name string, node *Node) (string, error) {
	client, err := l.Clientset()
	if err != nil {
		return "", err
	}
	seconds := int64(tokenSeconds)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	user := namespace + "." + name
	if node != nil {
		object, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: object.UID}
		user += "." + node.Name
	}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of service account %s/%s: %w", namespace, name, err)
	}

	config, err := clientcmd.LoadFromFile(l.Kubeconfig())
	if err != nil {
		return "", err
	}
	config.AuthInfos = map[string]*clientcmdapi.AuthInfo{user: {Token: token.Status.Token}}
	config.Contexts[config.CurrentContext].AuthInfo = user
	file := filepath.Join(l.pkiDir(), user+".kubeconfig")
	return file, clientcmd.WriteToFile(*config, file)
}
