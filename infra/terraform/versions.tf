# No resources: the root of the tests in tests/, which run each module by itself with a mocked provider.
terraform {
  required_version = ">= 1.11"
}
