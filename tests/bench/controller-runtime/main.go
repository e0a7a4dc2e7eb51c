// The peer of the benchmark `server`: a mutating webhook for Services as people write one with
// controller-runtime. It decodes the object, sets spec.externalIPs and the annotation that names
// the address, prints the object again and lets the library compute the patch. Its manager keeps a
// cache of Services, as whoever gives out addresses has to know which are taken; the handler doesn't
// even look there and always gives the same address, so it does less than an allocator.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	wish    = "external-ip"
	address = "198.18.0.1"
)

type assigner struct {
	decoder admission.Decoder
}

func (a *assigner) Handle(_ context.Context, request admission.Request) admission.Response {
	service := &corev1.Service{}
	if err := a.decoder.Decode(request, service); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if service.Annotations[wish] != "auto" || len(service.Spec.ExternalIPs) > 0 {
		return admission.Allowed("")
	}
	service.Spec.ExternalIPs = []string{address}
	changed, err := json.Marshal(service)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, changed)
}

func main() {
	port := flag.Int("port", 9443, "port to listen on, on 127.0.0.1")
	certificates := flag.String("certificates", ".", "folder of tls.crt and tls.key")
	flag.Parse()

	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		ctrl.Log.Error(err, "scheme")
		os.Exit(1)
	}
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:  scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		WebhookServer: webhook.NewServer(webhook.Options{
			Host:    "127.0.0.1",
			Port:    *port,
			CertDir: *certificates,
		}),
	})
	if err != nil {
		ctrl.Log.Error(err, "manager")
		os.Exit(1)
	}
	ctx := ctrl.SetupSignalHandler()
	if _, err := manager.GetCache().GetInformer(ctx, &corev1.Service{}); err != nil {
		ctrl.Log.Error(err, "cache")
		os.Exit(1)
	}
	manager.GetWebhookServer().Register("/mutate", &webhook.Admission{
		Handler: &assigner{decoder: admission.NewDecoder(scheme)},
	})
	if err := manager.Start(ctx); err != nil {
		ctrl.Log.Error(err, "manager")
		os.Exit(1)
	}
}
