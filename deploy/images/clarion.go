package images

import "path/filepath"

// User is the uid and gid that Clarion's programs run as: the customary "nonroot", known to no host.
const User = "65532:65532"

// Clarion describes the product's two images, which the release and the lab build alike. The name of each is the
// repository, the program's short name and the tag: localhost/clarion- and v1.2.3 give localhost/clarion-speaker:v1.2.3.
// Binaries are expected where `make images` puts them: directory/linux_amd64/clarion-speaker.
func Clarion(repository, tag, directory string, architectures ...string) []Image {
	var images []Image
	for _, program := range []struct {
		name         string
		description  string
		capabilities []Capability
	}{
		{name: "controller", description: "Assigns addresses to Services of type LoadBalancer"},
		{name: "speaker", description: "Announces the addresses of Services on the node's networks", capabilities: []Capability{NetRaw}},
	} {
		binary := "clarion-" + program.name
		image := Image{
			Name:         repository + program.name + ":" + tag,
			Path:         "/" + binary,
			User:         User,
			Capabilities: program.capabilities,
			Binaries:     map[string]string{},
			Labels: map[string]string{
				"org.opencontainers.image.title":       binary,
				"org.opencontainers.image.description": program.description,
				"org.opencontainers.image.version":     tag,
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.source":      "https://github.com/clarion-lb/clarion",
			},
		}
		for _, architecture := range architectures {
			image.Binaries[architecture] = filepath.Join(directory, "linux_"+architecture, binary)
		}
		images = append(images, image)
	}
	return images
}
