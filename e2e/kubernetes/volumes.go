package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisioner   = "local/dir"
	selectedNode  = "volume.kubernetes.io/selected-node"
	volumesPolled = 250 * time.Millisecond
)

// volumes makes a directory and a `local` PersistentVolume for each claim of a StorageClass whose
// provisioner is local/dir, and removes both when the volume is released. (A hostPath volume would
// ignore fsGroup, so a container that is not root could not write to it.)
type volumes struct {
	client kubernetes.Interface
	node   string
	root   string
}

func newVolumesCommand() *cobra.Command {
	var kubeconfig string
	v := volumes{}
	cmd := &cobra.Command{Use: "volumes", RunE: func(cmd *cobra.Command, _ []string) error {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return err
		}
		if v.client, err = kubernetes.NewForConfig(config); err != nil {
			return err
		}
		for ; ; time.Sleep(volumesPolled) {
			if err := v.pass(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, "volumes:", err)
			}
		}
	}}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "credentials for the API server")
	cmd.Flags().StringVar(&v.node, "node", "node", "the node that has the directories")
	cmd.Flags().StringVar(&v.root, "root", "", "the folder to make them in")
	return cmd
}

// pass provisions what is claimed and removes what is released.
func (v *volumes) pass(ctx context.Context) error {
	classes, err := v.classes(ctx)
	if err != nil {
		return err
	}
	claims, err := v.client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range claims.Items {
		claim := &claims.Items[i]
		if claim.Spec.StorageClassName == nil || claim.Status.Phase != corev1.ClaimPending {
			continue
		}
		class, ours := classes[*claim.Spec.StorageClassName]
		if ours && v.wanted(claim, class) {
			if err := v.provision(ctx, claim); err != nil {
				return err
			}
		}
	}
	return v.reclaim(ctx, classes)
}

func (v *volumes) classes(ctx context.Context) (map[string]storagev1.StorageClass, error) {
	list, err := v.client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	ours := map[string]storagev1.StorageClass{}
	for _, class := range list.Items {
		if class.Provisioner == provisioner {
			ours[class.Name] = class
		}
	}
	return ours, nil
}

// wanted is false while the scheduler has not yet chosen the node of a claim that waits for its first consumer.
func (v *volumes) wanted(claim *corev1.PersistentVolumeClaim, class storagev1.StorageClass) bool {
	waits := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	return !waits || claim.Annotations[selectedNode] == v.node
}

func (v *volumes) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	name := "pvc-" + string(claim.UID)
	path := filepath.Join(v.root, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      claim.Spec.Resources.Requests,
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              *claim.Spec.StorageClassName,
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{v.node}}},
			}}}},
		},
	}
	_, err := v.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (v *volumes) reclaim(ctx context.Context, classes map[string]storagev1.StorageClass) error {
	list, err := v.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, volume := range list.Items {
		_, ours := classes[volume.Spec.StorageClassName]
		if !ours || volume.Status.Phase != corev1.VolumeReleased || volume.Spec.Local == nil {
			continue
		}
		if err := os.RemoveAll(volume.Spec.Local.Path); err != nil {
			return err
		}
		if err := v.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
