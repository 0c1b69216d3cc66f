// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import "fmt"

// instanceType is what EC2 says of a kind of host.
type instanceType struct {
	name      string
	vcpus     int
	memoryMiB int
	gpus      int
	gpuName   string
	// gpuMemoryMiB is of one GPU.
	gpuMemoryMiB  int
	threadsPerCPU int
	architecture  string
	bareMetal     bool
	burstable     bool
}

// instanceFamily holds what the sizes of a family share.
type instanceFamily struct {
	name, gpuName string
	gpuMemoryMiB  int
	threads       int
	architecture  string
	burstable     bool
	sizes         []instanceSize
}

type instanceSize struct {
	name             string
	vcpus, memoryGiB float64
	gpus             int
}

// instanceFamilies are the published figures:
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html (accelerated),
// https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html (general purpose),
// https://docs.aws.amazon.com/ec2/latest/instancetypes/co.html (compute optimised)
var instanceFamilies = []instanceFamily{
	{name: "g4dn", gpuName: "T4", gpuMemoryMiB: 16384, threads: 2, sizes: []instanceSize{
		{"xlarge", 4, 16, 1}, {"2xlarge", 8, 32, 1}, {"4xlarge", 16, 64, 1}, {"8xlarge", 32, 128, 1},
		{"16xlarge", 64, 256, 1}, {"12xlarge", 48, 192, 4}, {"metal", 96, 384, 8},
	}},
	{name: "g5", gpuName: "A10G", gpuMemoryMiB: 24576, threads: 2, sizes: []instanceSize{
		{"xlarge", 4, 16, 1}, {"2xlarge", 8, 32, 1}, {"4xlarge", 16, 64, 1}, {"8xlarge", 32, 128, 1},
		{"16xlarge", 64, 256, 1}, {"12xlarge", 48, 192, 4}, {"24xlarge", 96, 384, 4}, {"48xlarge", 192, 768, 8},
	}},
	{name: "g6", gpuName: "L4", gpuMemoryMiB: 24576, threads: 2, sizes: []instanceSize{
		{"xlarge", 4, 16, 1}, {"2xlarge", 8, 32, 1}, {"4xlarge", 16, 64, 1}, {"8xlarge", 32, 128, 1},
		{"16xlarge", 64, 256, 1}, {"12xlarge", 48, 192, 4}, {"24xlarge", 96, 384, 4}, {"48xlarge", 192, 768, 8},
	}},
	{name: "t3", threads: 2, burstable: true, sizes: []instanceSize{
		{"nano", 2, 0.5, 0}, {"micro", 2, 1, 0}, {"small", 2, 2, 0}, {"medium", 2, 4, 0},
		{"large", 2, 8, 0}, {"xlarge", 4, 16, 0}, {"2xlarge", 8, 32, 0},
	}},
	{name: "t4g", threads: 1, burstable: true, architecture: "arm64", sizes: []instanceSize{
		{"micro", 2, 1, 0}, {"small", 2, 2, 0}, {"medium", 2, 4, 0}, {"large", 2, 8, 0}, {"xlarge", 4, 16, 0},
	}},
	{name: "m5", threads: 2, sizes: []instanceSize{
		{"large", 2, 8, 0}, {"xlarge", 4, 16, 0}, {"2xlarge", 8, 32, 0}, {"4xlarge", 16, 64, 0},
		{"8xlarge", 32, 128, 0}, {"12xlarge", 48, 192, 0}, {"16xlarge", 64, 256, 0}, {"24xlarge", 96, 384, 0},
		{"metal", 96, 384, 0},
	}},
	{name: "c5", threads: 2, sizes: []instanceSize{
		{"large", 2, 4, 0}, {"xlarge", 4, 8, 0}, {"2xlarge", 8, 16, 0}, {"4xlarge", 16, 32, 0},
		{"9xlarge", 36, 72, 0}, {"12xlarge", 48, 96, 0}, {"18xlarge", 72, 144, 0}, {"24xlarge", 96, 192, 0},
		{"metal", 96, 192, 0},
	}},
}

// instanceTypes is every type by name, and instanceTypeNames their order.
var instanceTypes, instanceTypeNames = buildInstanceTypes()

func buildInstanceTypes() (map[string]instanceType, []string) {
	byName := map[string]instanceType{}
	var names []string
	for _, family := range instanceFamilies {
		architecture := family.architecture
		if architecture == "" {
			architecture = "x86_64"
		}
		for _, size := range family.sizes {
			t := instanceType{
				name: family.name + "." + size.name, vcpus: int(size.vcpus), memoryMiB: int(size.memoryGiB * 1024),
				gpus: size.gpus, gpuName: family.gpuName, gpuMemoryMiB: family.gpuMemoryMiB,
				threadsPerCPU: family.threads, architecture: architecture,
				bareMetal: size.name == "metal", burstable: family.burstable,
			}
			byName[t.name] = t
			names = append(names, t.name)
		}
	}
	return byName, names
}

// findInstanceType returns a type, or AWS's refusal of a name it doesn't know.
func findInstanceType(name string) (instanceType, error) {
	t, ok := instanceTypes[name]
	if !ok {
		return instanceType{}, refuse("InvalidParameterValue",
			"Invalid value '%s' for InstanceType.", name)
	}
	return t, nil
}

type describeInstanceTypesResponse struct {
	ec2Response
	Types     []instanceTypeXML `xml:"instanceTypeSet>item"`
	NextToken string            `xml:"nextToken,omitempty"`
}

type instanceTypeXML struct {
	Name              string     `xml:"instanceType"`
	CurrentGeneration bool       `xml:"currentGeneration"`
	UsageClasses      []string   `xml:"supportedUsageClasses>item"`
	RootDeviceTypes   []string   `xml:"supportedRootDeviceTypes>item"`
	Virtualization    []string   `xml:"supportedVirtualizationTypes>item"`
	BareMetal         bool       `xml:"bareMetal"`
	Hypervisor        string     `xml:"hypervisor,omitempty"`
	Burstable         bool       `xml:"burstablePerformanceSupported"`
	Architectures     []string   `xml:"processorInfo>supportedArchitectures>item"`
	VCPUs             int        `xml:"vCpuInfo>defaultVCpus"`
	Cores             int        `xml:"vCpuInfo>defaultCores"`
	ThreadsPerCore    int        `xml:"vCpuInfo>defaultThreadsPerCore"`
	MemoryMiB         int        `xml:"memoryInfo>sizeInMiB"`
	GPU               *gpuXML    `xml:"gpuInfo"`
	Network           networkXML `xml:"networkInfo"`
}

type gpuXML struct {
	Devices        []gpuDeviceXML `xml:"gpus>item"`
	TotalMemoryMiB int            `xml:"totalGpuMemoryInMiB"`
}

type gpuDeviceXML struct {
	Name         string `xml:"name"`
	Manufacturer string `xml:"manufacturer"`
	Count        int    `xml:"count"`
	MemoryMiB    int    `xml:"memoryInfo>sizeInMiB"`
}

type networkXML struct {
	Performance       string `xml:"networkPerformance"`
	MaximumInterfaces int    `xml:"maximumNetworkInterfaces"`
	AddressesEach     int    `xml:"ipv4AddressesPerInterface"`
}

// describeInstanceTypes answers with the figures of the types asked for.
func describeInstanceTypes(c *call) (any, error) {
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	names := c.list("InstanceType")
	if len(names) == 0 {
		names = instanceTypeNames
	}
	var found []instanceTypeXML
	for _, name := range names {
		t, ok := instanceTypes[name]
		if !ok {
			return nil, refuse("InvalidInstanceType",
				"The following supplied instance types do not exist: [%s]", name)
		}
		matched, err := filters.match(t.filterValues)
		if err != nil {
			return nil, err
		}
		if matched {
			found = append(found, t.xml())
		}
	}
	page, next, err := paginate(c, found, 5, 100)
	if err != nil {
		return nil, err
	}
	return &describeInstanceTypesResponse{Types: page, NextToken: next}, nil
}

func (t instanceType) filterValues(name string) ([]string, bool) {
	switch name {
	case "instance-type":
		return []string{t.name}, true
	case "current-generation":
		return []string{"true"}, true
	case "bare-metal":
		return []string{fmt.Sprint(t.bareMetal)}, true
	case "processor-info.supported-architecture":
		return []string{t.architecture}, true
	case "vcpu-info.default-vcpus":
		return []string{fmt.Sprint(t.vcpus)}, true
	case "memory-info.size-in-mib":
		return []string{fmt.Sprint(t.memoryMiB)}, true
	case "supported-usage-class":
		return []string{"on-demand", "spot"}, true
	default:
		return nil, false
	}
}

func (t instanceType) xml() instanceTypeXML {
	x := instanceTypeXML{
		Name: t.name, CurrentGeneration: true,
		UsageClasses: []string{"on-demand", "spot"}, RootDeviceTypes: []string{"ebs"}, Virtualization: []string{"hvm"},
		BareMetal: t.bareMetal, Burstable: t.burstable, Architectures: []string{t.architecture},
		VCPUs: t.vcpus, Cores: t.vcpus / t.threadsPerCPU, ThreadsPerCore: t.threadsPerCPU, MemoryMiB: t.memoryMiB,
		Network: networkXML{Performance: "Up to 25 Gigabit", MaximumInterfaces: 4, AddressesEach: 15},
	}
	if !t.bareMetal {
		x.Hypervisor = "nitro"
	}
	if t.gpus > 0 {
		x.GPU = &gpuXML{
			Devices: []gpuDeviceXML{{
				Name: t.gpuName, Manufacturer: "NVIDIA", Count: t.gpus, MemoryMiB: t.gpuMemoryMiB,
			}},
			TotalMemoryMiB: t.gpus * t.gpuMemoryMiB,
		}
	}
	return x
}
