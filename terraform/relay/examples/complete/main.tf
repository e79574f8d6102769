# A domain at Route 53, its name servers on relay and box, and a budget.
variable "relay_private_key" {
  description = "WireGuard private key of the relay (wg genkey)."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "tsig_secret" {
  description = "Secret of the zone transfers (openssl rand -base64 32)."
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

  name              = "home"
  box_public_key    = var.box_public_key
  relay_private_key = var.relay_private_key

  zones             = ["example.org"]
  tsig_secret       = var.tsig_secret
  registered_domain = "example.org"
  second_elastic_ip = true

  budget_email = "owner@example.com"
  budget_usd   = 20
  reboot_time  = "03:30"
  tags         = { purpose = "mail" }

  # Second phase, when the box answers for its domain:
  # mail_host  = "mail.example.org"
  # dnssec_key = { algorithm = 13, flags = 257, public_key = "…" }
}

output "relay" {
  value = module.relay
}
