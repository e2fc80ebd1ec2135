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

variable "permissions_boundary_arn" {
  description = "Permissions boundary that the company requires for roles; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
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
  description = "Subnets of nodes and pods, one per zone."
  type        = list(string)

  validation {
    condition     = length(var.node_subnet_ids) >= 2
    error_message = "EKS needs subnets in two zones at least."
  }
}

variable "node_security_group_id" {
  description = "Security group of the nodes."
  type        = string

  validation {
    condition     = startswith(var.node_security_group_id, "sg-")
    error_message = "node_security_group_id must begin with sg-."
  }
}

variable "operator_cidrs" {
  description = "Networks from which kubectl is used."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.operator_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "operator_cidrs must be IPv4 networks, never the whole internet."
  }
}

variable "admin_role_arns" {
  description = "Roles that administer the Kubernetes cluster."
  type        = set(string)

  validation {
    condition     = length(var.admin_role_arns) > 0 && alltrue([for arn in var.admin_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", arn))])
    error_message = "admin_role_arns must be ARNs of IAM roles, at least one, since nobody else gets into the cluster."
  }
}

variable "key_arns" {
  description = "ARN of the key of each class: secrets, volumes, logs."
  type        = map(string)

  validation {
    condition     = length(setsubtract(["secrets", "volumes", "logs"], keys(var.key_arns))) == 0
    error_message = "key_arns needs secrets, volumes and logs."
  }
}

variable "workload_role_arns" {
  description = "Role of each workload, which pods with the service account voxray-WORKLOAD assume."
  type        = map(string)

  validation {
    condition     = alltrue([for arn in values(var.workload_role_arns) : startswith(arn, "arn:")])
    error_message = "workload_role_arns must be ARNs of roles."
  }
}

variable "namespace" {
  description = "Namespace of Voxray's pods."
  type        = string
  default     = "voxray"

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", var.namespace))
    error_message = "namespace must be a DNS label."
  }
}

variable "kubernetes_version" {
  description = "Kubernetes version."
  type        = string
  default     = "1.33"

  validation {
    condition     = can(regex("^1\\.(3[0-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version must be 1.30 or newer."
  }
}

variable "system" {
  description = "Nodes for everything but workers: operators, DNS and the Ray head."
  type = object({
    instance_type = optional(string, "m7i.xlarge")
    nodes         = optional(number, 2)
  })
  default = {}

  validation {
    condition     = var.system.nodes >= 2
    error_message = "Two system nodes at least: DNS and operators must outlive one."
  }
}

variable "pools" {
  description = "Pools of workers, by name. It is the same object as in the module cluster_ec2, of which a part is used."
  type = map(object({
    kind          = string
    instance_type = string
    min           = optional(number, 0)
    max           = number
    disk_gib      = optional(number, 200)
    spot          = optional(bool, false)
    takes_calls   = optional(bool, false)
  }))

  validation {
    condition     = !contains(keys(var.pools), "system") && alltrue([for pool in var.pools : contains(["cpu", "nvidia", "neuron"], pool.kind) && pool.max >= pool.min && pool.max >= 1])
    error_message = "A pool is not named system, is of kind cpu, nvidia or neuron, and has a max from 1 that is not below min."
  }
}

variable "log_retention_days" {
  description = "Days for which the control plane's logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one of 30, 60, 90, 180, 365, 400, 545, 731."
  }
}

variable "calls_target_group_arn" {
  description = "Target group of the ingress for nodes of pools that take calls."
  type        = string

  validation {
    condition     = startswith(var.calls_target_group_arn, "arn:")
    error_message = "calls_target_group_arn must be an ARN."
  }
}
