"""Standing a Ray cluster up: here, in a cloud, on Kubernetes; and looking whether it is well."""
