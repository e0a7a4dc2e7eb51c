// The peer of the benchmark `conversion`: a conversion webhook for IpClaims as people write one with
// controller-runtime, on typed objects. v2 is the hub; v1 says of it what it can, and keeps the rest of
// its specification in an annotation.
package main

import (
	"encoding/json"
	"flag"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/conversion"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	webhookconversion "sigs.k8s.io/controller-runtime/pkg/webhook/conversion"
)

const carried = "ipcontroller.ext/conversion-data"

type Service struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name,omitempty"`
	UID       string   `json:"uid,omitempty"`
	Given     bool     `json:"given,omitempty"`
	Since     string   `json:"since,omitempty"`
	Ports     []string `json:"ports,omitempty"`
}

type SpecV2 struct {
	CIDR        string    `json:"cidr,omitempty"`
	Pool        string    `json:"pool,omitempty"`
	NodeName    string    `json:"nodeName,omitempty"`
	StandbyNode string    `json:"standbyNode,omitempty"`
	Link        string    `json:"link,omitempty"`
	Announce    string    `json:"announce,omitempty"`
	NodeNames   []string  `json:"nodeNames,omitempty"`
	Services    []Service `json:"services,omitempty"`
}

type Status struct {
	BoundNode  string             `json:"boundNode,omitempty"`
	BoundNodes []string           `json:"boundNodes,omitempty"`
	MAC        string             `json:"mac,omitempty"`
	BoundSince string             `json:"boundSince,omitempty"`
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

type ClaimV2 struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              SpecV2 `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

type SpecV1 struct {
	CIDR     string `json:"cidr"`
	NodeName string `json:"nodeName,omitempty"`
	Link     string `json:"link,omitempty"`
}

type ClaimV1 struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              SpecV1 `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

// Neither is changed after it was made, so a copy needs no depth here.
func (c *ClaimV1) DeepCopyObject() runtime.Object { copied := *c; return &copied }
func (c *ClaimV2) DeepCopyObject() runtime.Object { copied := *c; return &copied }

func (*ClaimV2) Hub() {}

func (c *ClaimV1) ConvertTo(hub conversion.Hub) error {
	to := hub.(*ClaimV2)
	to.ObjectMeta = c.ObjectMeta
	to.Status = c.Status
	if text, ok := c.Annotations[carried]; ok {
		if err := json.Unmarshal([]byte(text), &to.Spec); err != nil {
			return err
		}
		delete(to.Annotations, carried)
	} else {
		for _, owner := range c.OwnerReferences {
			if space, name, ok := strings.Cut(string(owner.UID), "/"); ok && owner.Kind == "ServiceReference" {
				to.Spec.Services = append(to.Spec.Services, Service{Namespace: space, Name: name})
			}
		}
	}
	to.Spec.CIDR, to.Spec.NodeName, to.Spec.Link = c.Spec.CIDR, c.Spec.NodeName, c.Spec.Link
	to.Spec.Pool = c.Labels["ip-pool-name"]
	return nil
}

func (c *ClaimV1) ConvertFrom(hub conversion.Hub) error {
	from := hub.(*ClaimV2)
	c.ObjectMeta = from.ObjectMeta
	c.Status = from.Status
	c.Spec = SpecV1{CIDR: from.Spec.CIDR, NodeName: from.Spec.NodeName, Link: from.Spec.Link}
	rest := from.Spec
	rest.CIDR, rest.NodeName, rest.Link, rest.Pool = "", "", "", ""
	text, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	c.Annotations = with(c.Annotations, carried, string(text))
	c.Labels = with(c.Labels, "ip-pool-name", from.Spec.Pool)
	c.Labels = with(c.Labels, "ipnode", from.Spec.NodeName)
	return nil
}

func with(all map[string]string, name, value string) map[string]string {
	if all == nil {
		all = map[string]string{}
	}
	all[name] = value
	return all
}

func main() {
	port := flag.Int("port", 9443, "port to listen on, on 127.0.0.1")
	certificates := flag.String("certificates", ".", "folder of tls.crt and tls.key")
	flag.Parse()

	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	group := schema.GroupVersion{Group: "ipcontroller.ext"}
	for version, claim := range map[string]runtime.Object{"v1": &ClaimV1{}, "v2": &ClaimV2{}} {
		group.Version = version
		scheme.AddKnownTypeWithName(group.WithKind("IpClaim"), claim)
		metav1.AddToGroupVersion(scheme, group)
	}
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: *port, CertDir: *certificates})
	server.Register("/convert", webhookconversion.NewWebhookHandler(scheme, webhookconversion.NewRegistry()))
	if err := server.Start(ctrl.SetupSignalHandler()); err != nil {
		ctrl.Log.Error(err, "server")
		os.Exit(1)
	}
}
