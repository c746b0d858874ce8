# Process 1 of the cluster's own namespaces (mount, network, pid). When it ends, the kernel ends everything in them.
# The environment names: STATE (a folder), KUBERNETES (the binary), HOST (this node's address),
# MADE_FOLDERS (a file that lists what was made outside STATE).
set -eu

log() { echo "$(date +%T.%N | cut -c1-12) $*"; }

# A component ends by fault only: then the cluster ends too, and `up` shows why.
start() {
    local name=$1
    shift
    log "start $name"
    "$@" >"$STATE/log/$name.log" 2>&1 &
}

kubectl() { "$KUBERNETES" kubectl --kubeconfig "$STATE/kubeconfig" "$@"; }

# Components keep their usual folders; what they hold is in STATE. The kubelet needs shared propagation.
mount --make-rshared /
for folder in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods /var/log/containers \
    /run/containerd /etc/cni /etc/containerd; do
    mkdir -p "$STATE/own$folder"
    [ -d "$folder" ] || { mkdir -p "$folder" && echo "$folder" >>"$MADE_FOLDERS"; }
    mount --bind "$STATE/own$folder" "$folder"
done

# The kubelet sets these for the whole kernel; it is content to find them set.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$STATE/own/proc/${setting%=*}
    mkdir -p "$(dirname "$file")"
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done

# Pods of one bridge reach each other through a Service only when the bridge's packets pass the filter.
if [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    modprobe br_netfilter 2>/dev/null || true
    [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || {
        log "the kernel has no br_netfilter: load it with \`modprobe br_netfilter\`"
        exit 1
    }
fi

# No link leaves this network, so no packet can.
ip link set lo up
ip link add cni0 type bridge
ip address add "$HOST/24" dev cni0
ip link set cni0 up
# A packet made on the node needs a route before kube-proxy turns the Service's address into a pod's.
ip route add 10.96.0.0/16 dev cni0
echo 1 >/proc/sys/net/ipv4/ip_forward

start etcd "$KUBERNETES" etcd --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
start kube-apiserver "$KUBERNETES" kube-apiserver --etcd-servers http://127.0.0.1:2379 \
    --secure-port 6443 --advertise-address "$HOST" --service-cluster-ip-range 10.96.0.0/16 \
    --tls-cert-file "$STATE/pki/server.crt" --tls-private-key-file "$STATE/pki/server.key" \
    --client-ca-file "$STATE/pki/ca.crt" --authorization-mode Node,RBAC --allow-privileged \
    --kubelet-client-certificate "$STATE/pki/admin.crt" --kubelet-client-key "$STATE/pki/admin.key" \
    --kubelet-certificate-authority "$STATE/pki/ca.crt" --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-signing-key-file "$STATE/pki/accounts.key" --service-account-key-file "$STATE/pki/accounts.pub" \
    --audit-policy-file "$STATE/audit.yaml" --audit-log-path "$STATE/log/audit.log"
start containerd containerd --config /etc/containerd/config.toml

until [ -S /run/containerd/containerd.sock ] && ctr version >/dev/null 2>&1; do sleep 0.05; done
for image in "$STATE"/images/*.tar; do ctr --namespace k8s.io images import "$image"; done
log "containerd has its images"

until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
log "the API server is ready"
start kube-controller-manager "$KUBERNETES" kube-controller-manager --kubeconfig "$STATE/kubeconfig" \
    --leader-elect=false --secure-port 0 --service-account-private-key-file "$STATE/pki/accounts.key" \
    --root-ca-file "$STATE/pki/ca.crt" --cluster-signing-cert-file "$STATE/pki/ca.crt" \
    --cluster-signing-key-file "$STATE/pki/ca.key"
start kube-scheduler "$KUBERNETES" kube-scheduler --kubeconfig "$STATE/kubeconfig" --leader-elect=false --secure-port 0
start kubelet "$KUBERNETES" kubelet --kubeconfig "$STATE/kubeconfig" --config "$STATE/kubelet.yaml" \
    --hostname-override node --node-ip "$HOST"
start kube-proxy "$KUBERNETES" kube-proxy --config "$STATE/proxy.yaml"
start dns "$KUBERNETES" dns --kubeconfig "$STATE/kubeconfig" --listen "$HOST:53"
start volumes "$KUBERNETES" volumes --kubeconfig "$STATE/kubeconfig" --root "$STATE/volumes"
kubectl apply --filename "$STATE/storage-class.yaml"
: >"$STATE/started"

wait -n && code=0 || code=$?
log "a component ended ($code), and so does the cluster"
exit 1
