output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "Address range of the VPC."
  value       = aws_vpc.this.cidr_block
}

output "node_subnet_ids" {
  description = "Subnets of the machines, one per zone, in the order of the zones."
  value       = local.subnet_ids["nodes"]
}

output "service_subnet_ids" {
  description = "Subnets of load balancers, endpoints and databases, one per zone, in the order of the zones."
  value       = local.subnet_ids["services"]
}

output "node_security_group_id" {
  description = "Security group of the machines."
  value       = aws_security_group.nodes.id
}

output "s3_endpoint_id" {
  description = "Gateway endpoint of S3, the only way to reach the buckets' objects."
  value       = aws_vpc_endpoint.gateway["s3"].id
}

output "interface_services" {
  description = "Services that have an interface endpoint."
  value       = sort(keys(aws_vpc_endpoint.interface))
}
