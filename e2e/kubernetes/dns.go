package main

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/dns/dnsmessage"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const clusterDomain = "svc.cluster.local"

// newDNSCommand serves A records of Services and of the named endpoints of headless Services.
// Every query asks the API server, so an answer is never stale.
func newDNSCommand() *cobra.Command {
	var kubeconfig, listen string
	cmd := &cobra.Command{Use: "dns", RunE: func(cmd *cobra.Command, _ []string) error {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		config.QPS, config.Burst = 200, 400
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		socket, err := net.ListenPacket("udp", listen)
		if err != nil {
			return err
		}
		return serveDNS(client, socket)
	}}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "credentials for the API server")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:53", "UDP address")
	return cmd
}

func serveDNS(client kubernetes.Interface, socket net.PacketConn) error {
	for {
		packet := make([]byte, 1500)
		n, from, err := socket.ReadFrom(packet)
		if err != nil {
			return err
		}
		go func() {
			if answer, err := answerDNS(client, packet[:n]); err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}()
	}
}

func answerDNS(client kubernetes.Interface, packet []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	addresses, known := lookUp(client, question.Name.String())
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true,
			RecursionDesired: header.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{question},
	}
	if !known {
		answer.Header.RCode = dnsmessage.RCodeNameError
	}
	if question.Type == dnsmessage.TypeA {
		for _, address := range addresses {
			ip := net.ParseIP(address).To4()
			if ip == nil {
				continue
			}
			answer.Answers = append(answer.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte(ip)},
			})
		}
	}
	return answer.Pack()
}

// lookUp resolves SERVICE.NAMESPACE.svc.cluster.local and HOST.SERVICE.NAMESPACE.svc.cluster.local.
func lookUp(client kubernetes.Interface, name string) (addresses []string, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	short, inCluster := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(name), "."), "."+clusterDomain)
	if !inCluster {
		return nil, false
	}
	labels := strings.Split(short, ".")
	if len(labels) < 2 || len(labels) > 3 {
		return nil, false
	}
	host, service, namespace := "", labels[len(labels)-2], labels[len(labels)-1]
	if len(labels) == 3 {
		host = labels[0]
	}
	found, err := client.CoreV1().Services(namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return nil, false
	}
	if host == "" && found.Spec.ClusterIP != "None" {
		return []string{found.Spec.ClusterIP}, true
	}
	slices, err := client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		return nil, false
	}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			named := host == "" || (endpoint.Hostname != nil && *endpoint.Hostname == host)
			ready := found.Spec.PublishNotReadyAddresses || endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			if named && ready {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	return addresses, host == "" || len(addresses) > 0
}
