// Package images builds a container image out of one static binary, without a container engine and without a base image.
//
// What comes out is an OCI image layout in a tar file, which every tool knows how to take:
//
//	bin/images/clarion-speaker.tar
//	├── oci-layout
//	├── index.json                 names the image for containerd, podman, skopeo, crane and recent Docker engines
//	├── manifest.json              the same for Docker engines without containerd's image store: one platform only
//	└── blobs/sha256/…
//	      index ──┬─► manifest linux/amd64 ──► config, layer: /clarion-speaker
//	              └─► manifest linux/arm64 ──► config, layer: /clarion-speaker
//
// The same input gives the same bytes: files are owned by root, ordered by name and carry one given time. The binary
// may carry file capabilities (see [Capability]), which is how a process that is not root gets NET_RAW in Kubernetes,
// where containers have no ambient capabilities.
//
// The command in deploy/images/build makes the images of a release; the lab calls this package for its own small ones.
package images
