//! Tests of the operator that need no cluster.

mod crds;
