package awsemu

import (
	"encoding/json"
	"strings"
)

// ecsOperations are the operations of ECS that exist here. ECS speaks awsJson1.1:
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
//
// The groups that share a token bucket are those of
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
func ecsOperations() []operation {
	return []operation{
		ecsOperation("CreateCluster", true, bucketECSClusterModify, createCluster),
		ecsOperation("DeleteCluster", true, bucketECSClusterModify, deleteCluster),
		ecsOperation("DescribeClusters", false, bucketECSClusterRead, describeClusters),
		ecsOperation("ListClusters", false, bucketECSClusterRead, listClusters),

		ecsOperation("RegisterTaskDefinition", true, bucketECSRegisterTaskDefinition, registerTaskDefinition),
		ecsOperation("DeregisterTaskDefinition", true, bucketECSDeregisterTaskDefinition, deregisterTaskDefinition),
		ecsOperation("DescribeTaskDefinition", false, bucketECSTaskDefinitionRead, describeTaskDefinition),
		ecsOperation("ListTaskDefinitions", false, bucketECSTaskDefinitionRead, listTaskDefinitions),

		ecsOperation("RunTask", true, bucketECSResourceModify, runTask),
		ecsOperation("StopTask", true, bucketECSResourceModify, stopTask),
		ecsOperation("DescribeTasks", false, bucketECSResourceRead, describeTasks),
		ecsOperation("ListTasks", false, bucketECSResourceRead, listTasks),

		ecsOperation("RegisterContainerInstance", true, bucketECSAgentModify, registerContainerInstance),
		ecsOperation("DeregisterContainerInstance", true, bucketECSResourceModify, deregisterContainerInstance),
		ecsOperation("UpdateContainerInstancesState", true, bucketECSResourceModify, updateContainerInstancesState),
		ecsOperation("DescribeContainerInstances", false, bucketECSResourceRead, describeContainerInstances),
		ecsOperation("ListContainerInstances", false, bucketECSResourceRead, listContainerInstances),

		ecsOperation("TagResource", true, bucketECSTagModify, tagResource),
		ecsOperation("UntagResource", true, bucketECSTagModify, untagResource),
		ecsOperation("ListTagsForResource", false, bucketECSTagRead, listTagsForResource),
	}
}

// ecsOperation makes a table entry of a handler that takes its request as a struct.
func ecsOperation[In any](name string, mutating bool, bucket bucketName, handle func(*call, In) (any, error)) operation {
	op := jsonOperation(serviceECS, name, mutating, bucket, handle)
	op.access = ecsAccess[name]
	return op
}

// jsonOperation is that for any service that is asked in JSON.
func jsonOperation[In any](service, name string, mutating bool, bucket bucketName, handle func(*call, In) (any, error)) operation {
	return operation{
		service: service, name: name, mutating: mutating, bucket: bucket,
		handle: func(c *call) (any, error) {
			var in In
			if err := json.Unmarshal(c.body, &in); err != nil {
				return nil, serializationError(err)
			}
			return handle(c, in)
		},
	}
}

// serializationError is what an awsJson service answers to a body that isn't of
// the operation's shape.
func serializationError(err error) error {
	return refuse("SerializationException", "%v", err)
}

// clientError refuses a request that would be wrong in any state of the cluster.
func clientError(message string) error {
	return refuse("ClientException", "%s", message)
}

// invalidParameter refuses a parameter's value.
func invalidParameter(message string) error {
	return refuse("InvalidParameterException", "%s", message)
}

// include reports whether a describe call asked for an optional field.
func include(fields []string, want string) bool {
	for _, f := range fields {
		if strings.EqualFold(f, want) {
			return true
		}
	}
	return false
}
