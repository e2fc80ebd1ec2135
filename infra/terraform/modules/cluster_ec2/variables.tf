variable "name" {
  description = "Name of the environment, with which the name of every resource begins."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,20}[a-z0-9]$", var.name))
    error_message = "name must be 4 to 22 lower-case letters, digits and dashes, and begin with a letter: bucket and load balancer names have to fit."
  }
}

variable "tags" {
  description = "Tags of every resource, by which cost reports are grouped."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key in keys(var.tags) : !startswith(key, "aws:")])
    error_message = "AWS takes 50 tags a resource (a few are added here), and keeps keys that begin with aws: to itself."
  }
}

variable "vpc_id" {
  description = "VPC of the cluster."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "vpc_id must begin with vpc-."
  }
}

variable "node_subnet_ids" {
  description = "Subnets of the machines, one per zone. Ray tries them in turn when a zone has no capacity."
  type        = list(string)

  validation {
    condition     = length(var.node_subnet_ids) >= 2
    error_message = "Machines need subnets in two zones at least."
  }
}

variable "service_subnet_ids" {
  description = "Subnets of the head's load balancer."
  type        = list(string)

  validation {
    condition     = length(var.service_subnet_ids) >= 2
    error_message = "Name subnets in two zones at least."
  }
}

variable "node_security_group_id" {
  description = "Security group of the machines."
  type        = string

  validation {
    condition     = startswith(var.node_security_group_id, "sg-")
    error_message = "node_security_group_id must begin with sg-."
  }
}

variable "operator_cidrs" {
  description = "Networks from which operators reach the dashboard and the jobs API; empty for none (Session Manager always works)."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "operator_cidrs must be IPv4 networks, never the whole internet."
  }
}

variable "key_arns" {
  description = "ARN of the key of each class: volumes, logs."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["volumes", "logs"], keys(var.key_arns))) == 0
    error_message = "key_arns needs volumes and logs."
  }
}

variable "role_names" {
  description = "Name of the role of each workload."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["head", "gateway", "nvidia", "neuron", "ingest"], keys(var.role_names))) == 0
    error_message = "role_names needs head, gateway, nvidia, neuron and ingest."
  }
}

variable "role_arns" {
  description = "ARN of the role of each workload."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["head", "gateway", "nvidia", "neuron", "ingest"], keys(var.role_arns))) == 0
    error_message = "role_arns needs head, gateway, nvidia, neuron and ingest."
  }
}

variable "instance_profile_names" {
  description = "Name of the instance profile of each workload."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["head", "gateway", "nvidia", "neuron", "ingest"], keys(var.instance_profile_names))) == 0
    error_message = "instance_profile_names needs head, gateway, nvidia, neuron and ingest."
  }
}

variable "autoscaling_role_arn" {
  description = "Service-linked role that starts the head."
  type        = string

  validation {
    condition     = startswith(var.autoscaling_role_arn, "arn:")
    error_message = "autoscaling_role_arn must be an ARN."
  }
}

variable "machine_images" {
  description = "AMI of each kind of machine: cpu, nvidia, neuron. It must have a container runtime, AWS CLI v2 and the accelerator's driver."
  type        = map(string)

  validation {
    condition     = alltrue([for kind, id in var.machine_images : contains(["cpu", "nvidia", "neuron"], kind) && can(regex("^ami-[0-9a-f]{8,17}$", id))]) && contains(keys(var.machine_images), "cpu")
    error_message = "machine_images maps cpu (always) and nvidia and neuron (as used) to AMI ids."
  }
}

variable "container_images" {
  description = "Container image of each kind of machine (cpu, nvidia, neuron), by digest or immutable tag. All must have the same Ray and Python."
  type        = map(string)

  validation {
    condition     = contains(keys(var.container_images), "cpu") && alltrue([for image in var.container_images : can(regex("[:@]", image)) && !endswith(image, ":latest")])
    error_message = "container_images name a tag other than latest, or a digest, and hold cpu at least."
  }
}

variable "head" {
  description = "Machine type of the Ray head, which runs no replicas."
  type = object({
    instance_type = optional(string, "m7i.xlarge")
    disk_gib      = optional(number, 100)
  })
  default = {}

  validation {
    condition     = var.head.disk_gib >= 50
    error_message = "The head needs a disk of 50 GiB at least, for its image and logs."
  }
}

variable "pools" {
  description = "Pools of workers, by name. `cpus`, `gpus`, `neuron_cores` and `memory_gib` are what Ray may schedule on one machine, and `takes_calls` tells whether gateways run there."
  type = map(object({
    kind             = string
    workload         = string
    instance_type    = string
    min              = optional(number, 0)
    max              = number
    cpus             = number
    gpus             = optional(number, 0)
    neuron_cores     = optional(number, 0)
    memory_gib       = optional(number, 0)
    accelerator_type = optional(string)
    disk_gib         = optional(number, 200)
    spot             = optional(bool, false)
    takes_calls      = optional(bool, false)
    idle_timeout_s   = optional(number)
  }))

  validation {
    condition     = !contains(keys(var.pools), "head") && alltrue([for name, _ in var.pools : can(regex("^[a-z][a-z0-9-]{1,20}$", name))])
    error_message = "A pool's name is 2 to 21 lower-case letters, digits and dashes, and not head."
  }

  validation {
    condition     = alltrue([for pool in var.pools : contains(["cpu", "nvidia", "neuron"], pool.kind) && contains(keys(var.machine_images), pool.kind) && contains(keys(var.container_images), pool.kind)])
    error_message = "A pool's kind is cpu, nvidia or neuron, and machine_images and container_images have an image of that kind."
  }

  validation {
    condition     = alltrue([for pool in var.pools : contains(["gateway", "nvidia", "neuron", "ingest"], pool.workload)])
    error_message = "A pool's workload is gateway, nvidia, neuron or ingest."
  }

  validation {
    condition     = alltrue([for pool in var.pools : (pool.kind == "nvidia") == (pool.gpus > 0) && (pool.kind == "neuron") == (pool.neuron_cores > 0)])
    error_message = "nvidia pools, and only they, have gpus; neuron pools, and only they, have neuron_cores."
  }

  validation {
    condition     = alltrue([for pool in var.pools : pool.min >= 0 && pool.max >= pool.min && pool.cpus >= 0 && alltrue([for n in [pool.min, pool.max, pool.cpus, pool.gpus, pool.neuron_cores, pool.memory_gib] : floor(n) == n])])
    error_message = "min, max, cpus, gpus, neuron_cores and memory_gib are whole numbers from 0, and max is not below min."
  }

  validation {
    condition     = alltrue([for pool in var.pools : !(pool.spot && pool.workload != "ingest")])
    error_message = "Spot machines are for ingest only: AWS takes them away with two minutes' notice, and calls are longer."
  }
}

variable "environment" {
  description = "Switches of every Ray process, as written by `voxray render switches`. Without them the cluster's files are not rendered and Ray does not start."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.environment : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key)) && !can(regex("['\n]", value))])
    error_message = "Names must be names of variables, and values must not contain quotes or line breaks."
  }
}

variable "secret_environment" {
  description = "Secrets in the environment of Ray processes: for each variable the secret, its key (in a JSON secret), and the workloads that get it."
  type = map(object({
    secret_arn = string
    key        = optional(string)
    workloads  = set(string)
  }))
  default = {}

  validation {
    condition     = alltrue([for name, secret in var.secret_environment : can(regex("^[A-Z][A-Z0-9_]*$", name)) && (secret.key == null || can(regex("^[a-z_]+$", secret.key)))])
    error_message = "Names must consist of capitals, digits and _, and keys of lower-case letters and _."
  }
}

variable "idle_timeout_minutes" {
  description = "Minutes without work after which a machine is ended."
  type        = number
  default     = 10

  validation {
    condition     = var.idle_timeout_minutes >= 1
    error_message = "idle_timeout_minutes must be 1 or more."
  }
}

variable "ray_token_secret_arn" {
  description = "Secret that holds the token of the Ray cluster."
  type        = string

  validation {
    condition     = startswith(var.ray_token_secret_arn, "arn:")
    error_message = "ray_token_secret_arn must be an ARN."
  }
}

variable "redis_secret_arn" {
  description = "Secret that holds the AUTH token of Redis."
  type        = string

  validation {
    condition     = startswith(var.redis_secret_arn, "arn:")
    error_message = "redis_secret_arn must be an ARN."
  }
}

variable "redis_address" {
  description = "Host and port of Redis, where the head keeps the cluster's state."
  type        = string

  validation {
    condition     = can(regex("^[^:/]+:[0-9]+$", var.redis_address))
    error_message = "redis_address is HOST:PORT."
  }
}

variable "artifacts_bucket" {
  description = "Bucket from which machines fetch the rendered files, below cluster/NAME/."
  type        = string

  validation {
    condition     = length(var.artifacts_bucket) > 0
    error_message = "artifacts_bucket must not be empty."
  }
}

variable "models_folder" {
  description = "Folder of the weights on the machines, filled before Ray starts; equal to topology.models_folder in voxray.yaml."
  type        = string
  default     = "/var/lib/voxray/models"

  validation {
    condition     = startswith(var.models_folder, "/var/lib/voxray/")
    error_message = "models_folder lies below /var/lib/voxray, which containers share."
  }
}

variable "calls_target_group_arn" {
  description = "Target group of the ingress with which machines with gateways register themselves."
  type        = string

  validation {
    condition     = startswith(var.calls_target_group_arn, "arn:")
    error_message = "calls_target_group_arn must be an ARN."
  }
}

variable "log_retention_days" {
  description = "Days for which the machines' logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one of 30, 60, 90, 180, 365, 400, 545, 731."
  }
}

variable "deletion_protection" {
  description = "Whether the head's load balancer refuses to be deleted."
  type        = bool
  default     = true
}
