"""The trainers: TRL's own classes with a pipeline inside; nothing else imports TRL."""
