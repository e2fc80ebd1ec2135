output "cluster_name" {
  description = "Name of the EKS cluster."
  value       = aws_eks_cluster.this.name
}

output "api_address" {
  description = "Address of the Kubernetes API, which is reachable only inside the VPC."
  value       = aws_eks_cluster.this.endpoint
}

output "node_groups" {
  description = "What manifests need to know about each node group: its labels and its taints."
  value = {
    for name, group in local.groups : name => {
      labels = { "voxray-pool" = name, "voxray-kind" = group.kind }
      taints = local.taints[group.kind]
    }
  }
}

output "namespace" {
  description = "Namespace of Voxray's pods."
  value       = var.namespace
}

output "service_accounts" {
  description = "Service account of each workload."
  value       = { for workload, association in aws_eks_pod_identity_association.workload : workload => association.service_account }
}
