# The least that must be said. Secrets come from the environment: TF_VAR_relay_private_key.
variable "relay_private_key" {
  description = "WireGuard private key of the relay (wg genkey)."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "box_public_key" {
  description = "WireGuard public key of the box."
  type        = string
}

provider "aws" {
  region = "eu-central-1"
}

module "relay" {
  source = "../.."

  box_public_key    = var.box_public_key
  relay_private_key = var.relay_private_key
}

output "relay" {
  value = module.relay
}
